package filesystem

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestCallUndoesWhatComesLate(t *testing.T) {
	for _, late := range []error{nil, errors.New("failed")} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		release, undone := make(chan struct{}), make(chan struct{})
		err := call(ctx, func() error { <-release; return late }, func() { close(undone) })
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(release)
		select {
		case <-undone:
			if late != nil {
				t.Error("got an undo after a failure")
			}
		case <-time.After(200 * time.Millisecond):
			if late == nil {
				t.Error("got no undo after a late success")
			}
		}
	}
}

func TestBoundKeepsADeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	want, _ := ctx.Deadline()
	again, stop := bound(ctx, time.Minute)
	defer stop()
	if got, _ := again.Deadline(); got != want {
		t.Error("got another deadline than the caller's")
	}
	given, stop := bound(t.Context(), time.Minute)
	defer stop()
	if _, has := given.Deadline(); !has {
		t.Error("got no deadline, want one")
	}
}

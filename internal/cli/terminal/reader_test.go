package terminal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"thinctl/internal/cli/exit"
)

func TestInterruptible(t *testing.T) {
	want := make([]byte, 1<<20)
	for i := range want {
		want[i] = byte(rand.Uint32())
	}
	got, err := io.ReadAll(Interruptible(t.Context(), iotest.HalfReader(bytes.NewReader(want))))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	never, stop := io.Pipe()
	defer stop.Close()
	r := Interruptible(ctx, never)
	ended := make(chan error)
	go func() {
		_, err := r.Read(make([]byte, 10))
		ended <- err
	}()
	cancel(exit.ErrInterrupted)
	if err := <-ended; !errors.Is(err, exit.ErrInterrupted) {
		t.Errorf("%v, want %v", err, exit.ErrInterrupted)
	}
	if _, err := r.Read(make([]byte, 10)); !errors.Is(err, exit.ErrInterrupted) {
		t.Errorf("read again: %v, want %v", err, exit.ErrInterrupted)
	}
}

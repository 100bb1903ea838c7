package contexts_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"thinctl/internal/contexts"
)

func TestSleep(t *testing.T) {
	if err := contexts.Sleep(t.Context(), time.Nanosecond); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	cause := errors.New("stopped by the user")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := contexts.Sleep(ctx, time.Hour); !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
}

func TestCleanup(t *testing.T) {
	type key struct{}
	ended, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	cancel()
	ctx, done := contexts.Cleanup(ended)
	defer done()
	if err := ctx.Err(); err != nil {
		t.Errorf("error of the context: got %v, want nil", err)
	}
	if got := ctx.Value(key{}); got != "value" {
		t.Errorf("value: got %v, want %q", got, "value")
	}
	if _, bounded := ctx.Deadline(); !bounded {
		t.Error("deadline: got none, want one")
	}
}

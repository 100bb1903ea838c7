package filesystem

import (
	"context"
	"time"
)

// What a call may take where its context sets no deadline.
const (
	programBound = 15 * time.Minute // mkfs of a large, slow device
	kernelBound  = 2 * time.Minute  // replaying a journal
	flushBound   = 30 * time.Minute // a fifth of the memory may be dirty, and the disk slow
	trimBound    = 30 * time.Minute
	busyBound    = 2 * time.Second // how long a busy target is tried again
	thawBound    = 30 * time.Second
)

// bound gives ctx a deadline where it has none.
func bound(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// call runs op, which the kernel may hold for as long as a device takes no IO.
// Where ctx ends first, op goes on by itself, and undo, which may be nil, runs
// if it succeeds after all.
func call(ctx context.Context, op func() error, undo func()) error {
	if ctx.Err() != nil {
		return &Error{Err: context.Cause(ctx), Detail: "not begun"}
	}
	done := make(chan error, 1)
	go func() { done <- op() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if undo != nil {
		go func() {
			if <-done == nil {
				undo()
			}
		}()
	}
	return &Error{Err: context.Cause(ctx),
		Detail: "the kernel has not answered and goes on in the background; look whether the pool is out of space"}
}

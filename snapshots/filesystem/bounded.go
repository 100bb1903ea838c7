package filesystem

import (
	"context"
	"time"
)

// The time limits of calls whose context has no deadline.
const (
	programBound = 15 * time.Minute // mkfs of a large, slow device
	kernelBound  = 2 * time.Minute  // replaying a journal
	flushBound   = 30 * time.Minute // up to a fifth of the memory may be dirty, and the disk slow
	trimBound    = 30 * time.Minute
	busyBound    = 2 * time.Second // for unmounting a busy target again
	thawBound    = 30 * time.Second
)

// bound adds a deadline to ctx if it has none.
func bound(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// call runs op, which blocks in the kernel while a device accepts no IO. If ctx ends
// first, op continues in the background, and undo runs if op succeeds later. undo
// may be nil.
func call(ctx context.Context, op func() error, undo func()) error {
	if ctx.Err() != nil {
		return &Error{Err: context.Cause(ctx), Detail: "not started"}
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
		Detail: "the call continues in the kernel; check whether the pool is out of space"}
}

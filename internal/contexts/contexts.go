// Package contexts has a wait that ends with a context, and contexts for cleanups.
package contexts

import (
	"context"
	"time"
)

// cleanupLimit limits a cleanup. 30 s is longer than any single change of a device takes,
// and shorter than the time that a service manager allows for a stop.
const cleanupLimit = 30 * time.Second

// Sleep waits for d. If ctx ends first, it returns the cause.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Cleanup returns a context for work that must be done even if ctx has ended. It has the
// values of ctx and ends after 30 s.
func Cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
}

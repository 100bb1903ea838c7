// Package contexts has the waits and the cleanup contexts that all packages share.
package contexts

import (
	"context"
	"time"
)

// cleanupLimit bounds a cleanup: 30 s is longer than any single change of a device
// needs, and short enough for a service manager's stop.
const cleanupLimit = 30 * time.Second

// Sleep waits for d. It returns the cause of ctx's end when that comes first.
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

// Cleanup returns a context for work that must be done although ctx has ended: it
// keeps ctx's values, and ends after 30 s.
func Cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
}

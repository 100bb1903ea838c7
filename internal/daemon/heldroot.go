package daemon

import (
	"context"

	"thinctl/metrics"
)

// releaseHeld releases the metadata snapshot of a killed thinctl process. It reports
// whether another program holds one.
func (w *watcher) releaseHeld(ctx context.Context, s metrics.Sample) (foreign bool) {
	if s.Err != nil || !s.Status.Active || s.Status.Kernel.HeldRoot == 0 {
		return false
	}
	block, err := w.pool.ReleaseForgotten(ctx)
	if err != nil {
		w.log.Warn("the owner of the held metadata snapshot was not found", "error", err)
	}
	return block != 0
}

package daemon

import (
	"context"
	"errors"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/metrics"
	"thinctl/thinpool"
	"thinctl/units"
)

// failWhenFull reports whether writes to the pool should fail at once when it is full.
// Without the full policy "fail", writes wait until the pool grows. If the host has no
// space for that, they block until the kernel's timeout. failing is the present policy:
// the switch back needs more free space, so that the policy does not alternate.
func failWhenFull(s thinpool.Status, failing bool) bool {
	if s.Record.ErrorIfFull {
		return true
	}
	if s.Host == nil || !s.Record.Data.Loop {
		return false
	}
	keep := max(hostReserve(s), hostMinimum)
	if failing {
		keep += s.Host.Total / 100
	}
	return s.Host.Available < keep
}

// hostMinimum is the free space that the host needs, even if the pool has no reserve.
const hostMinimum = 16 * units.MiB

// switchPolicy sets the full policy to "fail" while the pool's host has no space for
// growth, and back to "queue" afterwards.
func (w *watcher) switchPolicy(ctx context.Context, s metrics.Sample) {
	_, pool := w.d.settings(w.name)
	if w.noPolicy || !pool.Extend.Enabled || !pool.Extend.SwitchFullPolicy {
		return
	}
	if !growable(s) || s.Status.Kernel.Mode == dm.ModeReadOnly {
		return
	}
	failing := s.Status.Kernel.ErrorIfNoSpace
	want := failWhenFull(s.Status, failing)
	if want == failing || !want && s.Status.Kernel.Mode == dm.ModeOutOfDataSpace {
		return // a full pool fails writes by itself when the kernel's timeout has passed
	}
	changed, err := w.pool.SetFullPolicy(ctx, want)
	switch {
	case errors.Is(err, fault.Unsupported):
		w.noPolicy = true
		w.log.Warn("the full policy cannot be changed", "error", err)
	case err != nil:
		w.log.Error("the full policy was not changed", "error", err)
	case changed && want:
		w.log.Warn("full policy: writes fail at once, since the host has no space for growth", "code", HostLow)
	case changed:
		w.log.Info("full policy: writes wait for growth again, since the host has space")
	}
}

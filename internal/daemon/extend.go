package daemon

import (
	"context"
	"errors"
	"time"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/loopback"
	"thinctl/metrics"
	"thinctl/thinpool"
	"thinctl/units"
)

// extend carries out the decisions. It reports whether it tried an extension.
func (w *watcher) extend(ctx context.Context, a assessment) bool {
	if !a.extending || !growable(a.sample) {
		return false
	}
	w.noteBlocked(metrics.Data, a.data, a.now)
	w.noteBlocked(metrics.Metadata, a.metadata, a.now)
	if a.data.to == 0 && a.metadata.to == 0 {
		return false
	}
	// An extension that has begun is finished in bounded time, even if ctx ends.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actionTimeout)
	defer cancel()
	before := a.sample.Status
	_, pool := w.d.settings(w.name)
	done := w.d.metrics.Operation("extend")
	extension, err := w.grow(ctx, before, a.data.to, a.metadata.to, pool.Extend.MetadataMaximum)
	done(err)
	after, unknown := w.pool.Status(ctx)
	if err == nil {
		err = unknown
	}
	w.recordResult(metrics.Data, a.data.to, before.Data.Total, after.Data.Total, err)
	w.recordResult(metrics.Metadata, a.metadata.to, before.Metadata.Total, after.Metadata.Total, err)
	if err == nil {
		w.log.Info("the pool was extended", "data_from", extension.DataFrom, "data_to", extension.DataTo,
			"metadata_from", extension.MetadataFrom, "metadata_to", extension.MetadataTo, "io_suspended", extension.Suspended)
	}
	return true
}

// growable reports whether the kernel accepts a larger size. It ignores one, without an
// error, if the pool needs a check or has failed. A pool that is read-only because no
// metadata is free becomes writable by growth.
func growable(s metrics.Sample) bool {
	return s.Err == nil && s.Status.Active && s.Status.Kernel.Mode != dm.ModeFail && !s.Status.Kernel.NeedsCheck
}

// grow extends the pool. Metadata also grows as far as the new size of data needs it, but
// not beyond maximum.
func (w *watcher) grow(
	ctx context.Context, before thinpool.Status, data, metadata, maximum units.Bytes,
) (thinpool.Extension, error) {
	metadata = max(metadata, before.Metadata.Total)
	if data != 0 {
		plan, err := w.pool.Extend(ctx, thinpool.ExtendOptions{Data: data, DryRun: true})
		if err != nil {
			return plan, err
		}
		metadata = max(metadata, plan.MetadataTo)
	}
	if maximum > 0 {
		metadata = max(before.Metadata.Total, min(metadata, maximum-maximum%(4*units.KiB)))
	}
	return w.pool.Extend(ctx, thinpool.ExtendOptions{Data: data, Metadata: metadata})
}

// recordResult records the result of extending one space. It goes by the size that the
// kernel reports afterwards, not by the error.
func (w *watcher) recordResult(space metrics.Space, to, from, is units.Bytes, err error) {
	if to == 0 {
		return
	}
	result := metrics.Done
	switch {
	case is >= to:
		err = nil
	case err == nil:
		result, err = metrics.Failed, errors.New("the kernel still uses the old size")
	case errors.Is(err, loopback.ErrNoSpace):
		result = metrics.NoHostSpace
	case errors.Is(err, fault.Invalid), errors.Is(err, fault.Unhealthy),
		errors.Is(err, thinpool.ErrNeedsCheck), errors.Is(err, thinpool.ErrInactive):
		result = metrics.Refused
	default:
		result = metrics.Failed
	}
	w.last[space] = attempt{at: time.Now(), result: result, err: err}
	w.d.metrics.Extended(w.name, space, is-min(is, from), result)
	if err != nil {
		w.log.Error("the pool was not extended", "code", ExtendFailed, "space", string(space),
			"from", from, "to", to, "result", result, "error", err)
	}
}

// noteBlocked counts an extension that has become impossible, once for each reason.
func (w *watcher) noteBlocked(space metrics.Space, s spaceState, now time.Time) {
	if s.blocked == "" || w.last[space].result == s.blocked {
		return
	}
	w.last[space] = attempt{at: now, result: s.blocked}
	w.d.metrics.Extended(w.name, space, 0, s.blocked)
}

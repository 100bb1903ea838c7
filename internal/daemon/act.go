package daemon

import (
	"context"
	"errors"
	"time"

	"thinctl/dm"
	"thinctl/internal/images"
	"thinctl/loopback"
	"thinctl/metrics"
	"thinctl/snapshots"
	"thinctl/thinpool"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// reviveEvery is the least time between two tries to activate a pool.
const reviveEvery = time.Minute

// reviveBound ends an activation, with what it finishes of killed processes.
const reviveBound = 5 * time.Minute

func isNoDatabase(err error) bool { return errors.Is(err, store.ErrNoDatabase) }

// revive activates a pool that nobody has deactivated, and finishes what killed
// processes left in it. It reports whether the sample has to be taken anew.
func (w *watcher) revive(ctx context.Context, s metrics.Sample) bool {
	_, pool := w.d.settings(w.name)
	first := w.revived.IsZero()
	if s.Err != nil || !pool.Activate || !s.Status.Record.Activated || !first && (s.Status.Active || time.Since(w.revived) < reviveEvery) {
		return false
	}
	w.revived = time.Now()
	ctx, cancel := context.WithTimeout(ctx, reviveBound)
	defer cancel()
	done := w.d.metrics.Operation("activate")
	wanted, err := w.pool.Reactivate(ctx)
	if err == nil && wanted {
		err = w.contents().Recover(ctx)
	}
	done(err)
	switch {
	case err != nil:
		w.log.Error("the pool is not activated", "code", PoolInactive, "error", err)
	case wanted && !s.Status.Active:
		w.log.Info("the pool was activated")
	}
	return true
}

func (w *watcher) contents() *images.Store {
	now := w.d.options.Host.Now
	return images.New(snapshots.New(w.pool, w.d.options.Files, snapshots.Options{Now: now}), images.Options{Now: now})
}

// extend does what was decided, and reports whether anything was tried.
func (w *watcher) extend(ctx context.Context, o seen) bool {
	if !o.extending || !growable(o.sample) {
		return false
	}
	w.noteBlocked(metrics.Data, o.data, o.now)
	w.noteBlocked(metrics.Metadata, o.metadata, o.now)
	if o.data.to == 0 && o.metadata.to == 0 {
		return false
	}
	// What has begun is finished, in bounded time, whatever ends meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actBound)
	defer cancel()
	before := o.sample.Status
	_, pool := w.d.settings(w.name)
	done := w.d.metrics.Operation("extend")
	extension, err := w.grow(ctx, before, o.data.to, o.metadata.to, pool.Extend.MetadataMaximum)
	done(err)
	after, unknown := w.pool.Status(ctx)
	if err == nil {
		err = unknown
	}
	w.settle(metrics.Data, o.data.to, before.Data.Total, after.Data.Total, err)
	w.settle(metrics.Metadata, o.metadata.to, before.Metadata.Total, after.Metadata.Total, err)
	if err == nil {
		w.log.Info("the pool was extended", "data_from", extension.DataFrom, "data_to", extension.DataTo,
			"metadata_from", extension.MetadataFrom, "metadata_to", extension.MetadataTo, "io_stood_still", extension.StoodStill)
	}
	return true
}

// growable: a pool that needs a check or has failed would pass over growth in
// silence. One without metadata says read-only, and growth mends it.
func growable(s metrics.Sample) bool {
	return s.Err == nil && s.Status.Active && s.Status.Kernel.Mode != dm.ModeFail && !s.Status.Kernel.NeedsCheck
}

// grow extends the pool, metadata first. What data needs of metadata by rule stays
// within the maximum of that.
func (w *watcher) grow(ctx context.Context, before thinpool.Status, data, metadata, maximum units.Bytes) (thinpool.Extension, error) {
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

// settle notes how the extension of one space ended: what counts is the size that
// it has, not what was answered.
func (w *watcher) settle(space metrics.Space, to, from, is units.Bytes, err error) {
	if to == 0 {
		return
	}
	result := metrics.Done
	switch {
	case is >= to:
		err = nil
	case err == nil:
		result, err = metrics.Failed, errors.New("the kernel went on with the old size")
	case errors.Is(err, loopback.ErrNoSpace):
		result = metrics.NoHostSpace
	case errors.Is(err, thinpool.ErrInvalid), errors.Is(err, thinpool.ErrUnhealthy), errors.Is(err, thinpool.ErrNeedsCheck), errors.Is(err, thinpool.ErrInactive):
		result = metrics.Refused
	default:
		result = metrics.Failed
	}
	w.last[space] = attempt{at: time.Now(), result: result, err: err}
	w.d.metrics.Extended(w.name, space, is-min(is, from), result)
	if err != nil {
		w.log.Error("the pool was not extended", "code", ExtendFailed, "space", string(space), "from", from, "to", to, "result", result, "error", err)
	}
}

// noteBlocked counts an extension that cannot be made when it becomes so.
func (w *watcher) noteBlocked(space metrics.Space, l outlook, now time.Time) {
	if l.blocked == "" || w.last[space].result == l.blocked {
		return
	}
	w.last[space] = attempt{at: now, result: l.blocked}
	w.d.metrics.Extended(w.name, space, 0, l.blocked)
}

// switchPolicy has a full pool fail writes at once while its host has no room for
// growth.
func (w *watcher) switchPolicy(ctx context.Context, s metrics.Sample) {
	_, pool := w.d.settings(w.name)
	if w.noPolicy || !pool.Extend.Enabled || !pool.Extend.SwitchFullPolicy || !growable(s) || s.Status.Kernel.Mode == dm.ModeReadOnly {
		return
	}
	failing := s.Status.Kernel.ErrorIfNoSpace
	want := failWhenFull(s.Status, failing)
	if want == failing || !want && s.Status.Kernel.Mode == dm.ModeOutOfDataSpace {
		return // a full pool that has queued for too long fails writes by itself
	}
	changed, err := w.pool.SetFullPolicy(ctx, want)
	switch {
	case errors.Is(err, thinpool.ErrUnsupported):
		w.noPolicy = true
		w.log.Warn("the full policy stays", "error", err)
	case err != nil:
		w.log.Error("the full policy is not set", "error", err)
	case changed && want:
		w.log.Warn("a full pool fails writes at once from now on: its host has no room for growth", "code", HostLow)
	case changed:
		w.log.Info("a full pool queues writes again: its host has room")
	}
}

// releaseHeld releases a metadata snapshot that a killed reading of ours left, and
// tells whether somebody else's is held.
func (w *watcher) releaseHeld(ctx context.Context, s metrics.Sample) (foreign bool) {
	if s.Err != nil || !s.Status.Active || s.Status.Kernel.HeldRoot == 0 {
		return false
	}
	block, err := w.pool.ReleaseForgotten(ctx)
	if err != nil {
		w.log.Warn("a metadata snapshot is held, and it is not known whose", "error", err)
	}
	return block != 0
}

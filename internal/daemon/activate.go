package daemon

import (
	"context"
	"errors"
	"time"

	"thinctl/internal/images"
	"thinctl/internal/layers"
	"thinctl/metrics"
	"thinctl/thinpool"
)

// activateInterval is the shortest time between two attempts to activate a pool.
const activateInterval = time.Minute

// activateTimeout bounds an activation together with the recovery after it.
const activateTimeout = 5 * time.Minute

func isNoDatabase(err error) bool { return errors.Is(err, thinpool.ErrNoDatabase) }

// activate activates a pool unless a user has deactivated it, and recovers what killed
// processes left unfinished. It reports whether a new sample is needed.
func (w *watcher) activate(ctx context.Context, s metrics.Sample) bool {
	_, pool := w.d.settings(w.name)
	first := w.lastActivation.IsZero()
	if s.Err != nil || !pool.Activate || !s.Status.Record.Activated {
		return false
	}
	if !first && (s.Status.Active || time.Since(w.lastActivation) < activateInterval) {
		return false
	}
	w.lastActivation = time.Now()
	ctx, cancel := context.WithTimeout(ctx, activateTimeout)
	defer cancel()
	done := w.d.metrics.Operation("activate")
	wanted, err := w.pool.Reactivate(ctx)
	if err == nil && wanted {
		err = w.contents().Recover(ctx)
	}
	done(err)
	switch {
	case err != nil:
		w.log.Error("the pool was not activated", "code", PoolInactive, "error", err)
	case wanted && !s.Status.Active:
		w.log.Info("the pool was activated")
	}
	return true
}

func (w *watcher) contents() *images.Store {
	now := w.d.options.Host.Now
	return images.New(layers.New(w.pool, w.d.options.Files, layers.Options{Now: now}), images.Options{Now: now})
}

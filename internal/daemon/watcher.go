package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"thinctl/dm"
	"thinctl/internal/contexts"
	"thinctl/internal/daemon/sampler"
	"thinctl/metrics"
	"thinctl/thinpool"
	"thinctl/units"
)

// watcher polls one pool. Only its run uses the fields above chores.
type watcher struct {
	d       *Daemon
	name    string
	log     *slog.Logger
	end     context.CancelFunc
	started chan struct{} // closed after the first poll
	kicks   chan struct{} // each asks for a poll at once
	events  chan struct{} // each is an event of the device

	pool           *thinpool.Pool // nil until it could be opened
	forecast       metrics.Forecaster
	last           map[metrics.Space]attempt
	lastActivation time.Time // of the last attempt to activate the pool
	codes          []string  // the conditions of the last poll
	gone           time.Time // since when the pool's directory is missing
	noPolicy       bool      // the kernel cannot switch the full policy
	lastError      string    // of the last poll, if it failed

	maintenance maintenance

	mu        sync.Mutex
	sample    metrics.Sample
	sampled   bool    // sample is set
	device    dm.Info // of the pool when it was last active
	lastGood  time.Time
	destroyed bool // the pool has neither a directory nor a device
}

func newWatcher(d *Daemon, name string) *watcher {
	now := time.Now()
	return &watcher{d: d, name: name, log: d.log.With("pool", name), lastGood: now,
		started: make(chan struct{}), kicks: make(chan struct{}, 1), events: make(chan struct{}, 1),
		last: map[metrics.Space]attempt{}, maintenance: maintenance{begun: now}}
}

// run polls the pool until ctx ends.
func (w *watcher) run(ctx context.Context) {
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer w.close()
	w.poll(ctx)
	close(w.started)
	helpers.Go(func() { w.follow(ctx) })
	helpers.Go(func() { w.maintain(ctx) })
	for {
		serve, _ := w.d.settings(w.name)
		timer := time.NewTimer(serve.Interval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-w.kicks:
		case <-w.events:
			w.d.metrics.Event(w.name)
		}
		timer.Stop()
		w.poll(ctx)
	}
}

func (w *watcher) close() {
	if pool := w.maintenance.setPool(nil); pool != nil {
		if err := pool.Close(context.Background()); err != nil {
			w.log.Warn("the database was not closed", "error", err)
		}
	}
	w.pool = nil
}

// kick asks for a poll at once.
func (w *watcher) kick() {
	select {
	case w.kicks <- struct{}{}:
	default:
	}
}

// follow turns the device's events into polls, at most five a second.
func (w *watcher) follow(ctx context.Context) {
	const calm = 200 * time.Millisecond
	for ctx.Err() == nil {
		serve, _ := w.d.settings(w.name)
		device := w.activeDevice()
		pause := calm
		if device.Name == "" {
			pause = serve.Interval
		} else if w.awaitEvent(ctx, device) {
			select {
			case w.events <- struct{}{}:
			default:
			}
		} else {
			pause = serve.Interval // the device is gone; the next timed poll finds out why
		}
		_ = contexts.Sleep(ctx, pause)
	}
}

// awaitEvent waits for an event after the last one that was received.
func (w *watcher) awaitEvent(ctx context.Context, device dm.Info) bool {
	now, err := w.d.options.Host.Kernel.WaitEvent(ctx, dm.ByDev(device.Dev), device.EventNr)
	if err != nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.device.Dev == device.Dev {
		w.device.EventNr = now
	}
	return true
}

func (w *watcher) activeDevice() dm.Info {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.sample.Status.Active {
		return dm.Info{}
	}
	return w.device
}

// poll is one round: sample, act, sample again, publish.
func (w *watcher) poll(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	s := w.read(bounded)
	if w.activate(ctx, s) {
		s = w.read(bounded)
	}
	a := w.assess(s)
	if w.extend(bounded, a) {
		// The kernel raises the low-water event once for each resume, so only this sample
		// shows that a space is still low.
		a = w.assess(w.read(bounded))
		if a.data.needsAnother() || a.metadata.needsAnother() {
			w.kick()
		}
	}
	w.switchPolicy(bounded, a.sample)
	a.foreignRoot = w.releaseHeld(bounded, a.sample)
	if ctx.Err() != nil {
		return
	}
	w.publish(a)
	w.maintenance.wake()
}

// read takes a sample. It opens the pool if that has not been done yet.
func (w *watcher) read(ctx context.Context) metrics.Sample {
	begun := time.Now()
	fail := func(err error) metrics.Sample {
		return metrics.Sample{Pool: w.name, At: begun, Took: time.Since(begun), Err: err}
	}
	if w.pool == nil {
		serve := w.d.options
		pool, err := thinpool.Open(ctx, serve.Host, serve.Config.Root, w.name)
		if err != nil {
			return fail(err)
		}
		w.pool = pool
		w.maintenance.setPool(pool)
	}
	serve, _ := w.d.settings(w.name)
	s := sampler.TakeOf(ctx, w.pool, sampler.Options{VolumeLimit: serve.VolumeMetrics})
	switch {
	case gone(s.Err):
		w.close()
	case s.Err == nil && s.Status.Record.UUID != w.pool.UUID():
		// It is another pool of the same name.
		w.close()
		w.last = map[metrics.Space]attempt{}
		w.forecast = metrics.Forecaster{}
		return w.read(ctx)
	case s.Err == nil && s.Status.Active:
		w.noteDevice(ctx, s)
	}
	return s
}

// noteDevice keeps the pool's device for awaitEvent. It reads the device's event number
// once; later awaitEvent updates it.
func (w *watcher) noteDevice(ctx context.Context, s metrics.Sample) {
	w.mu.Lock()
	known := w.device.Dev == s.Status.Dev
	w.mu.Unlock()
	if known {
		return
	}
	info, err := w.d.options.Host.Kernel.Info(ctx, dm.ByDev(s.Status.Dev))
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.device = info
}

func gone(err error) bool {
	return errors.Is(err, thinpool.ErrNoPool) || isNoDatabase(err)
}

// assess derives from a sample all that the following steps need.
func (w *watcher) assess(s metrics.Sample) assessment {
	serve, pool := w.d.settings(w.name)
	now := time.Now()
	w.noteGone(s, now)
	a := assessment{
		sample: s, now: now, interval: serve.Interval, scanEvery: pool.ScanEvery, extending: pool.Extend.Enabled,
		gone: !w.gone.IsZero() && now.Sub(w.gone) >= goneAfter,
	}
	if s.Err != nil || !s.Status.Active {
		return a
	}
	data, metadata := w.spaces(s.Status)
	dataRule, metadataRule := rules(pool.Extend)
	a.metadata = w.assessSpace(metrics.Metadata, metadata, metadataRule, now)
	// Data cannot use the host's space that metadata is about to use.
	if data.file && metadata.file && a.metadata.to > metadata.total {
		data.available -= min(data.available, a.metadata.to-metadata.total)
	}
	a.data = w.assessSpace(metrics.Data, data, dataRule, now)
	return a
}

// goneAfter is the time that a pool may be missing without a condition: while a pool is
// being destroyed, its directory goes before its watcher.
const goneAfter = 10 * time.Second

func (w *watcher) noteGone(s metrics.Sample, now time.Time) {
	switch {
	case !gone(s.Err):
		w.gone = time.Time{}
	case w.gone.IsZero():
		w.gone = now
	}
}

func (w *watcher) assessSpace(name metrics.Space, sizes space, by rule, now time.Time) spaceState {
	last := w.last[name]
	d := decide(sizes, by, last, now)
	if !d.passed {
		if last.result != metrics.Done && last.err == nil {
			delete(w.last, name) // an extension was impossible, and is no longer needed
		}
		return spaceState{decision: d}
	}
	if d.blocked == "" && d.to == 0 && last.result == metrics.NoHostSpace {
		d.blocked = metrics.NoHostSpace // there was less free space than expected
	}
	return spaceState{d, last}
}

// needsAnother reports whether a space needs another extension right after one.
func (s spaceState) needsAnother() bool { return s.to != 0 && s.last.result == metrics.Done }

// spaces returns the sizes of a pool's two devices.
func (w *watcher) spaces(s thinpool.Status) (data, metadata space) {
	size := func(backing thinpool.Space, loop bool) (size units.Bytes) {
		if loop {
			return 0
		}
		device, err := w.d.options.Host.Disks.Device(backing.Path)
		if err != nil {
			return 0
		}
		return device.Size
	}
	data = dataSpace(s, size(s.Data, s.Record.Data.Loop))
	metadata = metadataSpace(s, size(s.Metadata, s.Record.Metadata.Loop))
	return data, metadata
}

// publish makes the sample available with its conditions, and logs changes of these.
func (w *watcher) publish(a assessment) {
	_, pool := w.d.settings(w.name)
	w.maintenance.report(&a, pool)
	s := a.sample
	w.forecast.Add(s)
	s.Forecast = w.forecast.Forecast(a.now)
	if pool.Extend.Enabled {
		s.Limits = map[metrics.Space]units.Bytes{}
		if most := pool.Extend.DataMaximum; most > 0 {
			s.Limits[metrics.Data] = most
		}
		if most := pool.Extend.MetadataMaximum; most > 0 {
			s.Limits[metrics.Metadata] = most
		}
	}
	w.mu.Lock()
	if s.Err == nil {
		w.lastGood = a.now
	}
	a.lastGood = w.lastGood
	s.Conditions = conditions(a)
	if s.Err != nil && w.sampled {
		s = keep(w.sample, s)
	}
	w.sample, w.sampled = s, true
	device := w.device
	w.mu.Unlock()
	if !w.gone.IsZero() {
		exists := w.hasDevice(device)
		w.mu.Lock()
		w.destroyed = !exists
		w.mu.Unlock()
	}
	w.logConditions(a, s.Conditions)
}

// keep returns a failed sample, completed with the figures of the sample before it.
func keep(before, failed metrics.Sample) metrics.Sample {
	before.At, before.Took, before.Err, before.Conditions = failed.At, failed.Took, failed.Err, failed.Conditions
	return before
}

// published returns the last sample. It adds SampleStale if the sample is old, in case
// the present poll hangs.
func (w *watcher) published() (metrics.Sample, bool) {
	serve, _ := w.d.settings(w.name)
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sample
	if w.sampled && stale(time.Now(), w.lastGood, serve.Interval) && !slices.Contains(s.Conditions, SampleStale) {
		s.Conditions = append(slices.Clone(s.Conditions), SampleStale)
		slices.Sort(s.Conditions)
	}
	return s, w.sampled
}

// isDestroyed reports whether the pool has neither a directory nor a device.
func (w *watcher) isDestroyed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.destroyed
}

// hasDevice reports whether the kernel still has the device of a pool whose directory
// is gone.
func (w *watcher) hasDevice(device dm.Info) bool {
	if device.Name == "" {
		return false
	}
	_, err := w.d.options.Host.Kernel.Info(context.Background(), dm.ByUUID(device.UUID))
	return err == nil
}

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

// watcher keeps one pool. Its fields without a lock are its run's own.
type watcher struct {
	d       *Daemon
	name    string
	log     *slog.Logger
	end     context.CancelFunc
	started chan struct{} // closed after the first look
	kicks   chan struct{} // look at once
	events  chan struct{} // the device has raised an event

	pool     *thinpool.Pool // nil until it could be opened
	forecast metrics.Forecaster
	last     map[metrics.Space]attempt
	revived  time.Time // when it was last tried to activate it
	held     []string  // the codes of the last look
	gone     time.Time // since when it is not where it was
	noPolicy bool      // the kernel cannot switch the full policy
	trouble  string    // what was last logged of a look that failed

	chores chores

	mu       sync.Mutex
	sample   metrics.Sample
	seen     bool
	device   dm.Info // of the pool, when it was last active
	lastGood time.Time
	finished bool // nothing of the pool is left
}

func newWatcher(d *Daemon, name string) *watcher {
	now := time.Now()
	return &watcher{d: d, name: name, log: d.log.With("pool", name), lastGood: now,
		started: make(chan struct{}), kicks: make(chan struct{}, 1), events: make(chan struct{}, 1),
		last: map[metrics.Space]attempt{}, chores: chores{begun: now}}
}

// run looks at the pool until ctx ends.
func (w *watcher) run(ctx context.Context) {
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer w.close()
	w.look(ctx)
	close(w.started)
	helpers.Go(func() { w.follow(ctx) })
	helpers.Go(func() { w.work(ctx) })
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
		w.look(ctx)
	}
}

func (w *watcher) close() {
	if pool := w.chores.setPool(nil); pool != nil {
		if err := pool.Close(context.Background()); err != nil {
			w.log.Warn("the database is not closed", "error", err)
		}
	}
	w.pool = nil
}

// kick has the pool looked at soon.
func (w *watcher) kick() {
	select {
	case w.kicks <- struct{}{}:
	default:
	}
}

// follow waits for the device's events, of which a storm makes no more than some
// looks a second.
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
			pause = serve.Interval // it is gone; the timer finds out what has become of it
		}
		_ = contexts.Sleep(ctx, pause)
	}
}

// awaitEvent waits for an event after those that the last look has seen.
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

// look is one round: sample, act, sample anew, publish.
func (w *watcher) look(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, lookBound)
	defer cancel()
	s := w.read(bounded)
	if w.revive(ctx, s) {
		s = w.read(bounded)
	}
	o := w.assess(s)
	if w.extend(bounded, o) {
		// The kernel's low-water event comes once for each resume: what is still low
		// after one is seen here or never.
		o = w.assess(w.read(bounded))
		if o.data.again() || o.metadata.again() {
			w.kick()
		}
	}
	w.switchPolicy(bounded, o.sample)
	o.foreignRoot = w.releaseHeld(bounded, o.sample)
	if ctx.Err() != nil {
		return
	}
	w.publish(o)
	w.chores.wake()
}

// read takes a sample, and opens the pool where that was not done yet.
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
		w.chores.setPool(pool)
	}
	serve, _ := w.d.settings(w.name)
	s := sampler.TakeOf(ctx, w.pool, sampler.Options{VolumeLimit: serve.VolumeMetrics})
	switch {
	case gone(s.Err):
		w.close()
	case s.Err == nil && s.Status.Record.UUID != w.pool.UUID():
		// Another pool of that name has taken its place.
		w.close()
		w.last = map[metrics.Space]attempt{}
		w.forecast = metrics.Forecaster{}
		return w.read(ctx)
	case s.Err == nil && s.Status.Active:
		w.noteDevice(ctx, s)
	}
	return s
}

// noteDevice remembers the pool's device for who waits for its events. The number
// of events is asked for first the device is known, and then goes by what was
// waited for.
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
	return errors.Is(err, thinpool.ErrNotFound) || isNoDatabase(err)
}

// assess makes of a sample all that is to be known before it is acted on.
func (w *watcher) assess(s metrics.Sample) seen {
	serve, pool := w.d.settings(w.name)
	now := time.Now()
	w.noteGone(s, now)
	o := seen{sample: s, now: now, interval: serve.Interval, scanEvery: pool.ScanEvery, extending: pool.Extend.Enabled,
		gone: !w.gone.IsZero() && now.Sub(w.gone) >= goneAfter}
	if s.Err != nil || !s.Status.Active {
		return o
	}
	data, metadata := w.spaces(s.Status)
	dataRule, metadataRule := rules(pool.Extend)
	o.metadata = w.outlook(metrics.Metadata, metadata, metadataRule, now)
	// What metadata takes of the host, data does not get.
	if data.file && metadata.file && o.metadata.to > metadata.total {
		data.room -= min(data.room, o.metadata.to-metadata.total)
	}
	o.data = w.outlook(metrics.Data, data, dataRule, now)
	return o
}

// goneAfter is how long a pool may be missing before anybody is told: destroying
// one takes a moment.
const goneAfter = 10 * time.Second

func (w *watcher) noteGone(s metrics.Sample, now time.Time) {
	switch {
	case !gone(s.Err):
		w.gone = time.Time{}
	case w.gone.IsZero():
		w.gone = now
	}
}

func (w *watcher) outlook(space metrics.Space, is space, by rule, now time.Time) outlook {
	last := w.last[space]
	v := decide(is, by, last, now)
	if !v.passed {
		if last.result != metrics.Done && last.err == nil {
			delete(w.last, space) // what made it impossible is over
		}
		return outlook{verdict: v}
	}
	if v.blocked == "" && v.to == 0 && last.result == metrics.NoHostSpace {
		v.blocked = metrics.NoHostSpace // it looked as if there was room, and there was not
	}
	return outlook{v, last}
}

// again: an extension has worked, and it takes another at once.
func (l outlook) again() bool { return l.to != 0 && l.last.result == metrics.Done }

// spaces are a pool's two devices with what their backings can still give.
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
	return dataSpace(s, size(s.Data, s.Record.Data.Loop)), metadataSpace(s, size(s.Metadata, s.Record.Metadata.Loop))
}

// publish gives the sample away with what it means, and logs what is new of it.
func (w *watcher) publish(o seen) {
	_, pool := w.d.settings(w.name)
	w.chores.report(&o, pool)
	s := o.sample
	w.forecast.Add(s)
	s.Forecast = w.forecast.Forecast(o.now)
	if pool.Extend.Enabled {
		s.Limits = map[metrics.Space]units.Bytes{}
		for space, most := range map[metrics.Space]units.Bytes{metrics.Data: pool.Extend.DataMaximum, metrics.Metadata: pool.Extend.MetadataMaximum} {
			if most > 0 {
				s.Limits[space] = most
			}
		}
	}
	w.mu.Lock()
	if s.Err == nil {
		w.lastGood = o.now
	}
	o.lastGood = w.lastGood
	s.Conditions = conditions(o)
	if s.Err != nil && w.seen {
		s = keep(w.sample, s)
	}
	w.sample, w.seen = s, true
	device := w.device
	w.mu.Unlock()
	if !w.gone.IsZero() {
		left := w.deviceLeft(device)
		w.mu.Lock()
		w.finished = !left
		w.mu.Unlock()
	}
	w.tell(o, s.Conditions)
}

// keep is a sample that failed, with what the one before it saw.
func keep(before, failed metrics.Sample) metrics.Sample {
	before.At, before.Took, before.Err, before.Conditions = failed.At, failed.Took, failed.Err, failed.Conditions
	return before
}

// published is the last sample, with what has come of it since: a look that hangs
// is told by its age.
func (w *watcher) published() (metrics.Sample, bool) {
	serve, _ := w.d.settings(w.name)
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sample
	if w.seen && stale(time.Now(), w.lastGood, serve.Interval) && !slices.Contains(s.Conditions, SampleStale) {
		s.Conditions = append(slices.Clone(s.Conditions), SampleStale)
		slices.Sort(s.Conditions)
	}
	return s, w.seen
}

// leftForGood: the pool is not there any more, and neither is its device.
func (w *watcher) leftForGood() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.finished
}

// deviceLeft tells whether the kernel still has the device of a pool whose folder
// is gone.
func (w *watcher) deviceLeft(device dm.Info) bool {
	if device.Name == "" {
		return false
	}
	_, err := w.d.options.Host.Kernel.Info(context.Background(), dm.ByUUID(device.UUID))
	return err == nil
}

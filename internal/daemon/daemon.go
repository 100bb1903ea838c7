package daemon

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"thinctl/internal/config"
	"thinctl/internal/filelock"
	"thinctl/metrics"
	"thinctl/thinpool"
)

// Bounds of waits.
const (
	startBound = 60 * time.Second // for all pools, before the daemon says ready
	stopBound  = 40 * time.Second // for what goes on when it is ended
	lookBound  = 30 * time.Second // for one look
	actBound   = 30 * time.Second // for one extension, whatever ends meanwhile
	listEvery  = 5 * time.Second  // pools that came and went
	lockName   = ".daemon.lock"
)

// Daemon watches the pools of one root.
type Daemon struct {
	options Options
	log     *slog.Logger
	metrics *metrics.Metrics
	reloads chan struct{}
	slow    chan struct{} // a token for who scans or trims: one at a time

	mu       sync.Mutex
	config   config.Config
	watchers map[string]*watcher
	// snapshotters are those of containerds, by their tables' names.
	snapshotters map[string]*snapshotter
	ready        bool
	beat         time.Time // when the main loop last came round
}

// New returns a daemon that does nothing yet.
func New(o Options) (*Daemon, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Daemon{options: o, log: o.Logger, config: o.Config, watchers: map[string]*watcher{}, snapshotters: map[string]*snapshotter{},
		reloads: make(chan struct{}, 1), slow: make(chan struct{}, 1)}
	d.metrics = metrics.New(d, metrics.Options{VolumeLimit: o.Config.Serve.VolumeMetrics, Version: o.Version})
	return d, nil
}

// Run serves until ctx ends, which is no error. It activates the pools before it
// says that it is ready, and leaves all devices as they are.
func (d *Daemon) Run(ctx context.Context) (err error) {
	root := d.options.Config.Root
	lock, err := d.takeRoot(root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	web, err := d.listen()
	if err != nil {
		return err
	}
	defer web.close()
	if err := thinpool.Sweep(ctx, d.options.Host, root); err != nil {
		d.log.Warn("what killed commands left is not cleared away", "root", root, "error", err)
	}
	watching, end := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer func() {
		end()
		d.notify("STOPPING=1")
		if !within(stopBound, all.Wait) {
			err = errors.Join(err, &Error{Op: "end", Object: "the daemon", Err: context.DeadlineExceeded, Remedy: "what goes on is finished by the next start"})
		}
	}()
	failed := web.serve(d.log)
	d.log.Info("watching", "root", root, "config", d.options.Config.Path(), "listen", web.addresses())
	d.refresh(watching, &all)
	d.awaitStart(watching)
	d.setReady(ctx)
	return d.loop(watching, &all, failed)
}

// takeRoot keeps a second daemon out.
func (d *Daemon) takeRoot(root string) (*filelock.Lock, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	lock, err := filelock.Try(filepath.Join(root, lockName), filelock.Range{})
	if errors.Is(err, filelock.ErrHeld) {
		return nil, &Error{Op: "serve", Object: "the pools of " + root, Kind: ErrRunning, Err: err,
			Remedy: "`systemctl status thinctl` shows it; one is enough for all pools"}
	}
	return lock, err
}

func (d *Daemon) setReady(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	d.mu.Lock()
	d.ready, d.beat = true, time.Now()
	d.mu.Unlock()
	d.notify("READY=1\n" + d.statusLine())
	d.log.Info("ready", "pools", len(d.Samples()))
}

// loop keeps the list of pools current until ctx ends.
func (d *Daemon) loop(ctx context.Context, all *sync.WaitGroup, failed <-chan error) error {
	list := time.NewTicker(listEvery)
	defer list.Stop()
	watchdog := ticks(d.options.Watchdog / 2)
	defer watchdog.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-watchdog.C:
			d.notify("WATCHDOG=1")
		case <-d.reloads:
			d.reload()
			d.refresh(ctx, all)
		case <-list.C:
			d.refresh(ctx, all)
			d.mu.Lock()
			d.beat = time.Now()
			d.mu.Unlock()
		}
	}
}

// ticks is a ticker; one that never ticks where every is 0.
func ticks(every time.Duration) *time.Ticker {
	ticker := time.NewTicker(max(every, time.Millisecond))
	if every <= 0 {
		ticker.Stop()
	}
	return ticker
}

// Reload has the configuration read anew, soon. It never waits.
func (d *Daemon) Reload() {
	select {
	case d.reloads <- struct{}{}:
	default: // one is to come, which will see it all
	}
}

func (d *Daemon) reload() {
	if d.options.Reload == nil {
		return
	}
	d.notify("RELOADING=1")
	fresh, err := d.options.Reload()
	if err != nil {
		d.log.Error("the configuration was not read, the old one stays", "error", err)
		d.notify("READY=1\nSTATUS=the configuration has faults, the old one stays")
		return
	}
	d.mu.Lock()
	old := d.config
	if fixed := restartNeeded(old, fresh); len(fixed) > 0 {
		d.log.Warn("these are used after a restart", "keys", strings.Join(fixed, ", "))
	}
	fresh.Root = old.Root
	d.config = fresh
	for _, w := range d.watchers {
		w.kick()
	}
	for _, s := range d.snapshotters {
		s.kick()
	}
	d.mu.Unlock()
	d.log.Info("the configuration was read", "config", fresh.Path())
	d.notify("READY=1\n" + d.statusLine())
}

// restartNeeded are the keys whose change a reload does not carry out.
func restartNeeded(old, fresh config.Config) []string {
	var keys []string
	for _, key := range []struct {
		name string
		same bool
	}{
		{"root", old.Root == fresh.Root}, {"busy_timeout", old.BusyTimeout == fresh.BusyTimeout}, {"serve.listen", old.Serve.Listen == fresh.Serve.Listen},
		{"serve.web_config", old.Serve.WebConfig == fresh.Serve.WebConfig}, {"serve.pprof", old.Serve.PProf == fresh.Serve.PProf},
		{"serve.volume_metrics", old.Serve.VolumeMetrics == fresh.Serve.VolumeMetrics},
		{"serve.log_level", old.Serve.LogLevel == fresh.Serve.LogLevel}, {"serve.log_format", old.Serve.LogFormat == fresh.Serve.LogFormat},
	} {
		if !key.same {
			keys = append(keys, key.name)
		}
	}
	return keys
}

// settings are what holds for a pool at this moment.
func (d *Daemon) settings(pool string) (config.Serve, config.Pool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.config.Serve, d.config.For(pool)
}

// refresh begins to watch pools that are new, or named by the configuration, and
// stops for those that are gone for good. So with snapshotters of containerds.
func (d *Daemon) refresh(ctx context.Context, all *sync.WaitGroup) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.refreshSnapshotters(ctx, all)
	listed, err := thinpool.List(d.config.Root)
	if err != nil {
		d.log.Error("the pools are not listed", "root", d.config.Root, "error", err)
		return
	}
	names := slices.Concat(listed, d.config.Pools())
	for _, table := range d.config.Containerds() {
		names = append(names, table.Pool)
	}
	for name, w := range d.watchers {
		if !slices.Contains(listed, name) {
			w.kick()
		}
		if !slices.Contains(names, name) && w.leftForGood() {
			w.end()
			delete(d.watchers, name)
			d.metrics.Forget(name)
			d.log.Info("the pool was destroyed", "pool", name)
		}
	}
	for _, name := range names {
		if d.watchers[name] != nil {
			continue
		}
		w := newWatcher(d, name)
		own, end := context.WithCancel(ctx)
		w.end = end
		d.watchers[name] = w
		all.Go(func() { w.run(own) })
	}
}

// awaitStart waits until each pool was activated, or could not be, and each
// containerd is served, or cannot be.
func (d *Daemon) awaitStart(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	d.mu.Lock()
	watchers := make([]*watcher, 0, len(d.watchers))
	for _, w := range d.watchers {
		watchers = append(watchers, w)
	}
	snapshotters := slices.Collect(maps.Values(d.snapshotters))
	d.mu.Unlock()
	for _, w := range watchers {
		select {
		case <-w.started:
		case <-ctx.Done():
			d.log.Warn("not waited for any longer", "pool", w.name)
		}
	}
	for _, s := range snapshotters {
		select {
		case <-s.tried:
		case <-ctx.Done():
			d.log.Warn("not waited for any longer", "snapshotter", s.table.Name)
		}
	}
}

// Samples implements [metrics.Source]: the last sample of each pool, by name.
func (d *Daemon) Samples() []metrics.Sample {
	d.mu.Lock()
	watchers := make([]*watcher, 0, len(d.watchers))
	for _, w := range d.watchers {
		watchers = append(watchers, w)
	}
	d.mu.Unlock()
	samples := []metrics.Sample{}
	for _, w := range watchers {
		if s, ok := w.published(); ok {
			samples = append(samples, s)
		}
	}
	slices.SortFunc(samples, func(a, b metrics.Sample) int { return strings.Compare(a.Pool, b.Pool) })
	return samples
}

func (d *Daemon) notify(state string) {
	if d.options.Notify == nil {
		return
	}
	if err := d.options.Notify(state); err != nil {
		d.log.Warn("the service manager does not listen", "error", err)
	}
}

// within runs wait, and tells whether it came to an end in time.
func within(bound time.Duration, wait func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); wait() }()
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

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

	"thinctl/fault"
	"thinctl/internal/config"
	"thinctl/internal/filelock"
	"thinctl/metrics"
	"thinctl/thinpool"
)

const (
	startTimeout  = 60 * time.Second // for all pools, before the daemon reports that it is ready
	stopTimeout   = 40 * time.Second // for all that is in progress when the daemon is stopped
	pollTimeout   = 30 * time.Second
	actionTimeout = 30 * time.Second // for one extension, even if the daemon is stopped
	listInterval  = 5 * time.Second  // between two searches for new and destroyed pools
	lockName      = ".daemon.lock"
)

// Daemon watches the pools of one root.
type Daemon struct {
	options   Options
	log       *slog.Logger
	metrics   *metrics.Metrics
	reloads   chan struct{}
	exclusive chan struct{} // holds a token while a pool is scanned or trimmed

	mu           sync.Mutex // guards the fields below
	config       config.Config
	watchers     map[string]*watcher     // by pool
	snapshotters map[string]*snapshotter // by the configuration table's name
	ready        bool
	heartbeat    time.Time // of the main loop
}

// New returns a daemon. Run starts it.
func New(o Options) (*Daemon, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Daemon{
		options: o, log: o.Logger, config: o.Config,
		watchers: map[string]*watcher{}, snapshotters: map[string]*snapshotter{},
		reloads: make(chan struct{}, 1), exclusive: make(chan struct{}, 1),
	}
	d.metrics = metrics.New(d, metrics.Options{VolumeLimit: o.Config.Serve.VolumeMetrics, Version: o.Version})
	return d, nil
}

// Run serves until ctx ends, and then returns nil. It activates the pools before it
// reports that it is ready. It leaves all devices as they are.
func (d *Daemon) Run(ctx context.Context) (err error) {
	root := d.options.Config.Root
	lock, err := d.lockRoot(root)
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
		d.log.Warn("the remains of killed commands were not removed", "root", root, "error", err)
	}
	watching, end := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer func() {
		end()
		d.notify("STOPPING=1")
		if !returnsWithin(stopTimeout, all.Wait) {
			err = errors.Join(err, &fault.Error{Op: "stop", Object: "the daemon", Err: context.DeadlineExceeded,
				Remedy: "the next start finishes the operations in progress"})
		}
	}()
	failed := web.serve(d.log)
	d.log.Info("watching", "root", root, "config", d.options.Config.Path(), "listen", web.addresses())
	d.refresh(watching, &all)
	d.awaitStart(watching)
	d.setReady(ctx)
	return d.loop(watching, &all, failed)
}

// lockRoot takes the lock that keeps a second daemon from serving the root.
func (d *Daemon) lockRoot(root string) (*filelock.Lock, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	lock, err := filelock.Try(filepath.Join(root, lockName), filelock.Range{})
	if errors.Is(err, filelock.ErrHeld) {
		return nil, &fault.Error{Op: "serve", Object: "the pools of " + root, Kind: ErrRunning, Err: err,
			Remedy: "`systemctl status thinctl` shows it; one daemon serves all pools"}
	}
	return lock, err
}

func (d *Daemon) setReady(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	d.mu.Lock()
	d.ready, d.heartbeat = true, time.Now()
	d.mu.Unlock()
	d.notify("READY=1\n" + d.statusLine())
	d.log.Info("ready", "pools", len(d.Samples()))
}

// loop updates the list of pools, reloads the configuration and feeds the watchdog until
// ctx ends.
func (d *Daemon) loop(ctx context.Context, all *sync.WaitGroup, failed <-chan error) error {
	list := time.NewTicker(listInterval)
	defer list.Stop()
	watchdog := newTicker(d.options.Watchdog / 2)
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
			d.heartbeat = time.Now()
			d.mu.Unlock()
		}
	}
}

// newTicker returns a ticker that never ticks if the interval is 0.
func newTicker(interval time.Duration) *time.Ticker {
	ticker := time.NewTicker(max(interval, time.Millisecond))
	if interval <= 0 {
		ticker.Stop()
	}
	return ticker
}

// Reload makes the daemon read its configuration again soon. It does not wait for that.
func (d *Daemon) Reload() {
	select {
	case d.reloads <- struct{}{}:
	default: // a reload is pending already
	}
}

func (d *Daemon) reload() {
	if d.options.Reload == nil {
		return
	}
	d.notify("RELOADING=1")
	fresh, err := d.options.Reload()
	if err != nil {
		d.log.Error("the configuration has errors, the old one is still used", "error", err)
		d.notify("READY=1\nSTATUS=the configuration has errors, the old one is still used")
		return
	}
	d.mu.Lock()
	old := d.config
	if fixed := restartNeeded(old, fresh); len(fixed) > 0 {
		d.log.Warn("some changes need a restart of the daemon", "keys", strings.Join(fixed, ", "))
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

// restartNeeded returns the keys that have changed and that a reload does not apply.
func restartNeeded(old, fresh config.Config) []string {
	var keys []string
	for _, key := range []struct {
		name string
		same bool
	}{
		{"root", old.Root == fresh.Root},
		{"busy_timeout", old.BusyTimeout == fresh.BusyTimeout},
		{"serve.listen", old.Serve.Listen == fresh.Serve.Listen},
		{"serve.web_config", old.Serve.WebConfig == fresh.Serve.WebConfig},
		{"serve.pprof", old.Serve.PProf == fresh.Serve.PProf},
		{"serve.volume_metrics", old.Serve.VolumeMetrics == fresh.Serve.VolumeMetrics},
		{"serve.log_level", old.Serve.LogLevel == fresh.Serve.LogLevel},
		{"serve.log_format", old.Serve.LogFormat == fresh.Serve.LogFormat},
	} {
		if !key.same {
			keys = append(keys, key.name)
		}
	}
	return keys
}

// settings returns the present settings of a pool.
func (d *Daemon) settings(pool string) (config.Serve, config.Pool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.config.Serve, d.config.For(pool)
}

// refresh starts watchers for new pools and for those in the configuration, and stops
// those of destroyed pools. It does the same for snapshotters.
func (d *Daemon) refresh(ctx context.Context, all *sync.WaitGroup) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.refreshSnapshotters(ctx, all)
	listed, err := thinpool.List(d.config.Root)
	if err != nil {
		d.log.Error("the pools could not be listed", "root", d.config.Root, "error", err)
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
		if !slices.Contains(names, name) && w.isDestroyed() {
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

// awaitStart waits until the daemon has tried to activate each pool and to serve each
// containerd.
func (d *Daemon) awaitStart(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
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
			d.log.Warn("the daemon starts without waiting for a pool any longer", "pool", w.name)
		}
	}
	for _, s := range snapshotters {
		select {
		case <-s.started:
		case <-ctx.Done():
			d.log.Warn("the daemon starts without waiting for a snapshotter any longer", "snapshotter", s.table.Name)
		}
	}
}

// Samples implements [metrics.Source]. It returns the last sample of each pool, sorted by
// name.
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
		d.log.Warn("the service manager was not notified", "error", err)
	}
}

// returnsWithin calls wait, and reports whether it returns before the timeout.
func returnsWithin(timeout time.Duration, wait func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); wait() }()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

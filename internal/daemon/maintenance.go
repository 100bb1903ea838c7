package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"thinctl/internal/config"
	"thinctl/internal/contexts"
	"thinctl/metrics"
	"thinctl/snapshots"
	"thinctl/thinpool"
	"thinctl/units"
)

const (
	// taskTimeout bounds a single task.
	taskTimeout = time.Hour
	// firstTrim is the longest time from the start to the first trim.
	firstTrim = 10 * time.Minute
)

// maintenance runs a pool's tasks that may take long, so that polls do not wait for them.
type maintenance struct {
	begun time.Time
	due   chan struct{}

	mu      sync.Mutex
	pool    *thinpool.Pool
	waiting time.Time   // when the oldest volume was removed that is still open
	leaked  units.Bytes // according to each of the last two scans
	suspect units.Bytes // according to the last scan
	scan    *metrics.Scan
	volumes map[string]snapshots.Scanned // from the last successful scan, by name
	scanned time.Time                    // of the last successful scan
	tried   time.Time                    // of the last scan
	trimmed time.Time
	copied  time.Time // of the last copy of the database
	once    sync.Once
}

func (m *maintenance) wakeups() chan struct{} {
	m.once.Do(func() { m.due = make(chan struct{}, 1) })
	return m.due
}

func (m *maintenance) wake() {
	select {
	case m.wakeups() <- struct{}{}:
	default:
	}
}

// setPool sets the pool that the tasks work on, and returns the previous one.
func (m *maintenance) setPool(pool *thinpool.Pool) *thinpool.Pool {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.pool
	m.pool = pool
	return before
}

// report adds the results of the tasks to an assessment.
func (m *maintenance) report(a *assessment, settings config.Pool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a.waiting, a.leaked = m.waiting, m.leaked
	if a.sample.Err == nil && a.sample.Status.Tombstones == 0 {
		a.waiting = time.Time{}
	}
	if settings.ScanEvery > 0 {
		a.lastScan = m.scanned
		if a.lastScan.IsZero() {
			a.lastScan = m.begun
		}
	}
	if m.scan != nil {
		scan := *m.scan
		a.sample.Scan = &scan
	}
}

// maintain runs the tasks that are due after each poll, until ctx ends.
func (w *watcher) maintain(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.maintenance.wakeups():
		}
		w.mu.Lock()
		s, sampled := w.sample, w.sampled
		w.mu.Unlock()
		w.maintenance.mu.Lock()
		pool := w.maintenance.pool
		w.maintenance.mu.Unlock()
		if pool != nil {
			w.copyDatabase(ctx, pool)
		}
		if pool == nil || !sampled || s.Err != nil || !growable(s) {
			continue
		}
		if s.Status.Tombstones > 0 {
			w.reap(ctx, pool)
		}
		_, settings := w.d.settings(w.name)
		if w.maintenance.trimDue(settings) {
			w.exclusively(ctx, func(ctx context.Context) { w.trim(ctx, pool, settings.TrimRate) })
		}
		if w.maintenance.scanDue(settings) {
			w.exclusively(ctx, func(ctx context.Context) { w.scan(ctx, pool) })
		}
	}
}

// exclusively waits until no other pool's trim or scan is in progress, and runs one.
func (w *watcher) exclusively(ctx context.Context, do func(context.Context)) {
	select {
	case w.d.exclusive <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-w.d.exclusive }()
	bounded, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	do(bounded)
}

// copyInterval is the time between two copies of a database that changes.
const copyInterval = time.Minute

// copyDatabase updates the copy from which a lost database is restored.
func (w *watcher) copyDatabase(ctx context.Context, pool *thinpool.Pool) {
	w.maintenance.mu.Lock()
	due := time.Since(w.maintenance.copied) >= copyInterval
	if due {
		w.maintenance.copied = time.Now()
	}
	w.maintenance.mu.Unlock()
	if !due {
		return
	}
	if err := pool.CopyDatabase(ctx); err != nil && ctx.Err() == nil {
		w.log.Warn("the database was not copied: after a loss, the last copy is restored", "error", err)
	}
}

// reap discards the blocks of removed volumes that are no longer open.
func (w *watcher) reap(ctx context.Context, pool *thinpool.Pool) {
	bounded, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	done := w.d.metrics.Operation("reap")
	reaped, waiting, err := pool.Reap(bounded)
	done(err)
	if err != nil && ctx.Err() == nil {
		w.log.Warn("the blocks of removed volumes were not discarded", "error", err)
	}
	for _, volume := range reaped {
		w.log.Info("the blocks of a removed volume were discarded", "volume", volume.Name)
	}
	var oldest time.Time
	for _, volume := range waiting {
		if oldest.IsZero() || volume.Removed.Before(oldest) {
			oldest = volume.Removed
		}
	}
	w.maintenance.mu.Lock()
	defer w.maintenance.mu.Unlock()
	w.maintenance.waiting = oldest
}

func (m *maintenance) trimDue(settings config.Pool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if settings.TrimEvery <= 0 {
		return false
	}
	if m.trimmed.IsZero() {
		return time.Since(m.begun) >= min(settings.TrimEvery, firstTrim)
	}
	return time.Since(m.trimmed) >= settings.TrimEvery
}

func (w *watcher) trim(ctx context.Context, pool *thinpool.Pool, rate units.Bytes) {
	done := w.d.metrics.Operation("trim")
	trimmed, err := pool.Trim(ctx, &throttled{Trimmer: w.d.options.Files, rate: rate})
	done(err)
	w.maintenance.mu.Lock()
	w.maintenance.trimmed = time.Now()
	w.maintenance.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		w.log.Warn("volumes were not trimmed", "error", err)
	}
	w.log.Info("volumes were trimmed", "volumes", len(trimmed.Volumes), "freed", trimmed.Pool, "host_freed", trimmed.Host)
}

// throttled is a Trimmer that pauses after each file system, so that the average rate of
// discards stays below a limit.
type throttled struct {
	thinpool.Trimmer
	rate units.Bytes // per second; 0 for no limit
}

// longestPause bounds the pause: xfs may report all its free space as trimmed.
const longestPause = 10 * time.Minute

func (p *throttled) Trim(ctx context.Context, mountPoint string) (units.Bytes, error) {
	freed, err := p.Trimmer.Trim(ctx, mountPoint)
	if p.rate > 0 {
		_ = contexts.Sleep(ctx, pauseFor(freed, p.rate))
	}
	return freed, err
}

func pauseFor(freed, rate units.Bytes) time.Duration {
	seconds := float64(freed) / float64(rate)
	if seconds >= longestPause.Seconds() {
		return longestPause
	}
	return time.Duration(seconds * float64(time.Second))
}

func (m *maintenance) scanDue(settings config.Pool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return settings.ScanEvery > 0 && (m.tried.IsZero() || time.Since(m.tried) >= settings.ScanEvery)
}

// scan reads the pool's metadata exactly. This makes the kernel commit.
func (w *watcher) scan(ctx context.Context, pool *thinpool.Pool) {
	begun := time.Now()
	done := w.d.metrics.Operation("scan")
	usage, err := pool.Usage(ctx, thinpool.UsageOptions{})
	done(err)
	if errors.Is(ctx.Err(), context.Canceled) { // err may contain the context's cause only
		return
	}
	m := &w.maintenance
	m.mu.Lock()
	scan := metrics.Scan{At: begun, Took: time.Since(begun), Err: err, Usage: usage}
	if err != nil && m.scan != nil {
		scan.Usage = m.scan.Usage
	}
	m.scan, m.tried = &scan, begun
	if err == nil {
		// Two scans must agree, since writes to the pool can distort one.
		leaked := leakedBytes(usage)
		m.volumes = scannedVolumes(usage)
		m.scanned, m.leaked, m.suspect = time.Now(), min(leaked, m.suspect), leaked
	}
	m.mu.Unlock()
	if err != nil {
		w.log.Warn("the metadata was not scanned", "error", err)
	}
	w.kick()
}

// scanTolerance allows for writes between the metadata snapshot and the kernel's count of
// used blocks.
const scanTolerance = units.MiB

// leakedBytes returns the data in use without an owner: blocks that no thin device maps,
// and blocks of thin devices that belong to no volume.
func leakedBytes(u thinpool.Usage) units.Bytes {
	var leaked units.Bytes
	if u.Unmapped > scanTolerance {
		leaked = u.Unmapped
	}
	for _, volume := range u.Volumes {
		if volume.Name == "" && !volume.Removed {
			leaked += volume.Exclusive
		}
	}
	return leaked
}

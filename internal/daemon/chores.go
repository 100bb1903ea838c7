package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"thinctl/internal/config"
	"thinctl/internal/containerd"
	"thinctl/internal/contexts"
	"thinctl/metrics"
	"thinctl/thinpool"
	"thinctl/units"
)

const (
	// choreBound ends a chore that does not end by itself.
	choreBound = time.Hour
	// firstTrim is when trimming begins after a start, unless it is due earlier.
	firstTrim = 10 * time.Minute
)

// chores are what may take long and must not keep a look waiting.
type chores struct {
	begun time.Time
	due   chan struct{}

	mu      sync.Mutex
	pool    *thinpool.Pool
	waiting time.Time   // since when the oldest removed volume waits
	leaked  units.Bytes // by the last two scans
	suspect units.Bytes // by the last one
	scan    *metrics.Scan
	exact   map[string]containerd.Scanned // of the last scan that worked, by volume
	scanned time.Time                     // when a scan last worked
	tried   time.Time                     // when one was last tried
	trimmed time.Time
	copied  time.Time // when the database was last copied
	once    sync.Once
}

func (c *chores) wakes() chan struct{} {
	c.once.Do(func() { c.due = make(chan struct{}, 1) })
	return c.due
}

func (c *chores) wake() {
	select {
	case c.wakes() <- struct{}{}:
	default:
	}
}

// setPool gives the pool that chores are for, and returns the one before.
func (c *chores) setPool(pool *thinpool.Pool) *thinpool.Pool {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.pool
	c.pool = pool
	return before
}

// report adds to what was seen what chores have found.
func (c *chores) report(o *seen, settings config.Pool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.waiting, o.leaked = c.waiting, c.leaked
	if o.sample.Err == nil && o.sample.Status.Tombstones == 0 {
		o.waiting = time.Time{}
	}
	if settings.ScanEvery > 0 {
		o.lastScan = c.scanned
		if o.lastScan.IsZero() {
			o.lastScan = c.begun
		}
	}
	if c.scan != nil {
		scan := *c.scan
		o.sample.Scan = &scan
	}
}

// work does chores after each look until ctx ends.
func (w *watcher) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.chores.wakes():
		}
		w.mu.Lock()
		s, seen := w.sample, w.seen
		w.mu.Unlock()
		w.chores.mu.Lock()
		pool := w.chores.pool
		w.chores.mu.Unlock()
		if pool != nil {
			w.copyDatabase(ctx, pool)
		}
		if pool == nil || !seen || s.Err != nil || !growable(s) {
			continue
		}
		if s.Status.Tombstones > 0 {
			w.reap(ctx, pool)
		}
		_, settings := w.d.settings(w.name)
		if w.chores.trimDue(settings) {
			w.slowly(ctx, func(ctx context.Context) { w.trim(ctx, pool, settings.TrimRate) })
		}
		if w.chores.scanDue(settings) {
			w.slowly(ctx, func(ctx context.Context) { w.scan(ctx, pool) })
		}
	}
}

// slowly runs a chore once no other pool's goes on.
func (w *watcher) slowly(ctx context.Context, do func(context.Context)) {
	select {
	case w.d.slow <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-w.d.slow }()
	bounded, cancel := context.WithTimeout(ctx, choreBound)
	defer cancel()
	do(bounded)
}

// copyEvery is how often the database is copied, if it has changed.
const copyEvery = time.Minute

// copyDatabase keeps the copy from which a lost database is restored.
func (w *watcher) copyDatabase(ctx context.Context, pool *thinpool.Pool) {
	w.chores.mu.Lock()
	due := time.Since(w.chores.copied) >= copyEvery
	if due {
		w.chores.copied = time.Now()
	}
	w.chores.mu.Unlock()
	if !due {
		return
	}
	if err := pool.CopyDatabase(ctx); err != nil && ctx.Err() == nil {
		w.log.Warn("the database is not copied: a lost one is restored as it was at the last copy", "error", err)
	}
}

// reap gives back the blocks of removed volumes that nobody has open any more.
func (w *watcher) reap(ctx context.Context, pool *thinpool.Pool) {
	bounded, cancel := context.WithTimeout(ctx, choreBound)
	defer cancel()
	done := w.d.metrics.Operation("reap")
	reaped, waiting, err := pool.Reap(bounded)
	done(err)
	if err != nil && ctx.Err() == nil {
		w.log.Warn("blocks of removed volumes are not given back", "error", err)
	}
	for _, one := range reaped {
		w.log.Info("the blocks of a removed volume were given back", "volume", one.Name)
	}
	var oldest time.Time
	for _, one := range waiting {
		if oldest.IsZero() || one.Removed.Before(oldest) {
			oldest = one.Removed
		}
	}
	w.chores.mu.Lock()
	defer w.chores.mu.Unlock()
	w.chores.waiting = oldest
}

func (c *chores) trimDue(settings config.Pool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if settings.TrimEvery <= 0 {
		return false
	}
	if c.trimmed.IsZero() {
		return time.Since(c.begun) >= min(settings.TrimEvery, firstTrim)
	}
	return time.Since(c.trimmed) >= settings.TrimEvery
}

func (w *watcher) trim(ctx context.Context, pool *thinpool.Pool, rate units.Bytes) {
	done := w.d.metrics.Operation("trim")
	trimmed, err := pool.Trim(ctx, &paced{Trimmer: w.d.options.Files, rate: rate})
	done(err)
	w.chores.mu.Lock()
	w.chores.trimmed = time.Now()
	w.chores.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		w.log.Warn("volumes are not trimmed", "error", err)
	}
	w.log.Info("volumes were trimmed", "volumes", len(trimmed.Volumes), "freed", trimmed.Pool, "host_freed", trimmed.Host)
}

// paced waits after each file system for as long as what it gave back takes at a
// rate.
type paced struct {
	thinpool.Trimmer
	rate units.Bytes // a second; 0: it does not wait
}

// longestPause bounds the wait: xfs may say that it gave back all that it has.
const longestPause = 10 * time.Minute

func (p *paced) Trim(ctx context.Context, mountPoint string) (units.Bytes, error) {
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

func (c *chores) scanDue(settings config.Pool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return settings.ScanEvery > 0 && (c.tried.IsZero() || time.Since(c.tried) >= settings.ScanEvery)
}

// scan reads the pool's metadata exactly. It makes the kernel commit.
func (w *watcher) scan(ctx context.Context, pool *thinpool.Pool) {
	begun := time.Now()
	done := w.d.metrics.Operation("scan")
	usage, err := pool.Usage(ctx, thinpool.UsageOptions{})
	done(err)
	if errors.Is(ctx.Err(), context.Canceled) { // by whatever cause; err may name that alone
		return
	}
	c := &w.chores
	c.mu.Lock()
	scan := metrics.Scan{At: begun, Took: time.Since(begun), Err: err, Usage: usage}
	if err != nil && c.scan != nil {
		scan.Usage = c.scan.Usage
	}
	c.scan, c.tried = &scan, begun
	if err == nil {
		// Two scans have to agree: one may have met a pool that was being written.
		leaked := leakedBytes(usage)
		c.exact = exactOf(usage)
		c.scanned, c.leaked, c.suspect = time.Now(), min(leaked, c.suspect), leaked
	}
	c.mu.Unlock()
	if err != nil {
		w.log.Warn("the metadata was not scanned", "error", err)
	}
	w.kick()
}

// noise is what a busy pool may take between the moment of a reading and the
// kernel's figures of it.
const noise = units.MiB

// leakedBytes are in use and nobody's: blocks that no thin device maps, and thin
// devices that no volume ever had.
func leakedBytes(u thinpool.Usage) units.Bytes {
	var leaked units.Bytes
	if u.Unmapped > noise {
		leaked = u.Unmapped
	}
	for _, volume := range u.Volumes {
		if volume.Name == "" && !volume.Removed {
			leaked += volume.Exclusive
		}
	}
	return leaked
}

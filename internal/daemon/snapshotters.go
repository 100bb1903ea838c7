package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"thinctl/internal/config"
	"thinctl/internal/containerd"
	"thinctl/internal/daemon/imagefs"
	"thinctl/internal/images/differ"
	"thinctl/internal/remedy"
	"thinctl/metrics"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// snapshotter serves one containerd, until its table in the configuration changes.
type snapshotter struct {
	d     *Daemon
	table config.Containerd
	log   *slog.Logger
	end   context.CancelFunc
	ended chan struct{} // closed when it no longer serves
	// started is closed when it is ready, or when the first attempt has failed.
	started chan struct{}
	once    sync.Once
	kicks   chan struct{} // each asks for another attempt at once

	imagefs      *imagefs.FS // shows the pool's space; nil if the table has none
	imagefsError string      // the last one that was logged
	imagefsRetry time.Time   // the earliest time for another attempt after an error
	tableGone    atomic.Bool // the configuration no longer has the imagefs

	notReady  atomic.Pointer[error] // why requests are refused; nil if they are not
	lastError string                // the last one that was logged
}

// retryInterval is the time between two attempts, and between two checks of the pool.
const retryInterval = 2 * time.Second

var (
	errStarting   = errors.New("the snapshotter is starting")
	errReplaced   = errors.New("another pool now has this name")
	errSocketLost = errors.New("the socket is gone")
)

// refreshSnapshotters starts snapshotters for new tables of the configuration and stops
// those of removed tables. For a changed table it does both. The caller holds d.mu.
func (d *Daemon) refreshSnapshotters(ctx context.Context, all *sync.WaitGroup) {
	tables := d.config.Containerds()
	var leaving []*snapshotter // a new snapshotter may need the socket of one of these
	for name, s := range d.snapshotters {
		if slices.Contains(tables, s.table) {
			continue
		}
		s.tableGone.Store(!slices.ContainsFunc(tables, func(t config.Containerd) bool {
			return t.Name == name && t.ImageFS == s.table.ImageFS && t.Socket == s.table.Socket
		}))
		s.end()
		leaving = append(leaving, s)
		delete(d.snapshotters, name)
	}
	for _, table := range tables {
		if d.snapshotters[table.Name] != nil {
			continue
		}
		own, end := context.WithCancel(ctx)
		s := &snapshotter{
			d: d, table: table, end: end,
			ended: make(chan struct{}), started: make(chan struct{}), kicks: make(chan struct{}, 1),
			log: d.log.With("snapshotter", table.Name, "pool", table.Pool),
		}
		if table.ImageFS != "" {
			s.imagefs = &imagefs.FS{Loops: d.options.Host.Loops, Target: table.ImageFS,
				Image: filepath.Join(filepath.Dir(table.Socket), table.Name+".imagefs")}
		}
		d.snapshotters[table.Name] = s
		all.Go(func() {
			for _, before := range leaving {
				<-before.ended
			}
			s.run(own)
		})
	}
}

// run serves until ctx ends. After an error it tries again.
func (s *snapshotter) run(ctx context.Context) {
	defer close(s.ended)
	defer s.d.metrics.ForgetSnapshotter(s.table.Name)
	defer s.markStarted()
	defer s.removeImageFS()
	for ctx.Err() == nil {
		s.noteReady(errStarting)
		err := s.serve(ctx)
		if ctx.Err() != nil {
			if err != nil {
				s.log.Warn("the snapshotter ended with an error", "error", err)
			}
			return
		}
		s.failed(err)
		s.pause(ctx)
	}
}

// markStarted ends the daemon's wait for this snapshotter.
func (s *snapshotter) markStarted() { s.once.Do(func() { close(s.started) }) }

func (s *snapshotter) pause(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, retryInterval)
	defer cancel()
	select {
	case <-bounded.Done():
	case <-s.kicks:
	}
}

func (s *snapshotter) kick() {
	select {
	case s.kicks <- struct{}{}:
	default:
	}
}

// failed logs an error, once until it changes.
func (s *snapshotter) failed(err error) {
	s.noteReady(err)
	if text := err.Error(); text != s.lastError {
		s.lastError = text
		s.log.Error("containerd is not served, the daemon will try again", "error", err)
	}
	s.markStarted()
}

// noteReady sets the error with which requests are refused; nil if they are answered.
func (s *snapshotter) noteReady(err error) {
	s.d.metrics.Snapshotter(s.table.Name, s.table.Pool, err == nil)
	if err == nil {
		s.notReady.Store(nil)
		return
	}
	err = remedy.Add(fmt.Errorf("pool %s is not ready for containerd: %w", s.table.Pool, err))
	s.notReady.Store(&err)
}

func (s *snapshotter) readyError() error {
	if why := s.notReady.Load(); why != nil {
		return *why
	}
	return nil
}

// serve opens the pool and answers at the socket until ctx ends or another pool has the
// name. Requests are refused as unavailable until the recovery is complete.
func (s *snapshotter) serve(ctx context.Context) (err error) {
	if w := s.d.watcher(s.table.Pool); w != nil {
		select {
		case <-w.started: // the first attempt to activate the pool is over
		case <-ctx.Done():
			return nil
		}
	}
	o := s.d.options
	pool, err := thinpool.Open(ctx, o.Host, o.Config.Root, s.table.Pool)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close(context.Background())) }()
	backend, err := snapshots.New(pool, o.Files, snapshots.Options{
		Namespace: s.table.Namespace, FS: filesystem.Type(s.table.FileSystem), Size: s.table.Size, Log: s.log,
		Exclusive: func(volume string) (snapshots.Scanned, bool) { return s.d.scanned(s.table.Pool, volume) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backend.Close()) }()
	diffs, err := differ.New(backend, differ.Options{Containerd: s.table.Containerd, Ready: s.readyError, Log: s.log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, diffs.Close()) }()
	listener, err := containerd.Listen(s.table.Socket)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- containerd.Serve(serving, listener, backend,
			containerd.ServeOptions{Observe: s.observe, Ready: s.readyError, Services: diffs.Register})
	}()
	err = s.keepReady(serving, pool, backend, ended)
	stop()
	return errors.Join(err, <-ended)
}

// keepReady recovers unfinished changes when the pool becomes active, and each time after
// it was inactive. It returns when serving has ended or has to end.
func (s *snapshotter) keepReady(
	ctx context.Context, pool *thinpool.Pool, backend *snapshots.Snapshotter, ended chan error,
) error {
	ready, first := false, true
	for {
		sample, ok := s.sample()
		active := ok && sample.Err == nil && sample.Status.Active
		if active {
			s.showSpace(ctx, sample.Status.Data)
		}
		switch {
		case active && sample.Status.Record.UUID != pool.UUID():
			return errReplaced
		case !active && ready:
			ready = false // requests fail with the pool's own error
			s.d.metrics.Snapshotter(s.table.Name, s.table.Pool, false)
		case !ready:
			bounded, cancel := context.WithTimeout(ctx, activateTimeout)
			err := backend.Recover(bounded)
			cancel()
			if ctx.Err() != nil {
				return nil
			}
			if err != nil && first {
				s.failed(err)
			}
			if ready = err == nil; ready {
				first = false
				s.lastError = ""
				s.noteReady(nil)
				s.log.Info("containerd is served", "socket", s.table.Socket, "namespace", s.table.Namespace)
				s.markStarted()
			}
		}
		bounded, cancel := context.WithTimeout(ctx, retryInterval)
		select {
		case <-bounded.Done():
		case <-s.kicks:
		case err := <-ended:
			cancel()
			ended <- nil
			return errors.Join(errSocketLost, err)
		}
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if _, err := os.Lstat(s.table.Socket); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w", errSocketLost, err)
		}
	}
}

// showSpace updates the imagefs, if there is one, to the pool's space. An error of it is
// only logged.
func (s *snapshotter) showSpace(ctx context.Context, data thinpool.Space) {
	if s.imagefs == nil || time.Now().Before(s.imagefsRetry) {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	err := s.imagefs.Show(bounded, data.Total, data.Available)
	if err == nil {
		s.imagefsError = ""
		return
	}
	s.imagefsRetry = time.Now().Add(time.Minute)
	if text := err.Error(); text != s.imagefsError && ctx.Err() == nil {
		s.imagefsError = text
		s.log.Error("the kubelet does not see the pool's space, the daemon will try again", "error", err)
	}
}

// removeImageFS removes the imagefs if the configuration no longer has it. A daemon that
// is stopped leaves it mounted.
func (s *snapshotter) removeImageFS() {
	if s.imagefs == nil || !s.tableGone.Load() {
		return
	}
	bounded, cancel := context.WithTimeout(context.Background(), actionTimeout)
	defer cancel()
	if err := s.imagefs.Remove(bounded); err != nil {
		s.log.Error("the file system that shows the pool's space was not removed",
			"directory", s.table.ImageFS, "error", err)
	}
}

func (s *snapshotter) sample() (metrics.Sample, bool) {
	w := s.d.watcher(s.table.Pool)
	if w == nil {
		return metrics.Sample{}, false
	}
	return w.published()
}

// observe counts a request, and logs it at level debug.
func (s *snapshotter) observe(method string) (ended func(code string)) {
	counted := s.d.metrics.Request(s.table.Name, method)
	return func(code string) {
		counted(code)
		s.log.Debug("request", "method", method, "code", code)
	}
}

// watcher returns the watcher of a pool, nil if there is none.
func (d *Daemon) watcher(pool string) *watcher {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.watchers[pool]
}

// scanned returns the result for a volume of the pool's last scan.
func (d *Daemon) scanned(pool, volume string) (snapshots.Scanned, bool) {
	w := d.watcher(pool)
	if w == nil {
		return snapshots.Scanned{}, false
	}
	w.maintenance.mu.Lock()
	defer w.maintenance.mu.Unlock()
	result, ok := w.maintenance.volumes[volume]
	return result, ok
}

// scannedVolumes returns the results of a scan by volume.
func scannedVolumes(u thinpool.Usage) map[string]snapshots.Scanned {
	volumes := map[string]snapshots.Scanned{}
	for _, volume := range u.Volumes {
		if volume.Name != "" && !volume.Removed {
			volumes[volume.Name] = snapshots.Scanned{Exclusive: volume.Exclusive, Mapped: volume.Mapped}
		}
	}
	return volumes
}

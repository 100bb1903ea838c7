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
	"thinctl/metrics"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// snapshotter serves one containerd for as long as its table in the configuration
// stays as it is.
type snapshotter struct {
	d     *Daemon
	table config.Containerd
	log   *slog.Logger
	end   context.CancelFunc
	ended chan struct{} // closed when it serves no more
	tried chan struct{} // closed when it is ready, or could not be
	once  sync.Once
	kicks chan struct{} // try at once

	// imagefs shows the pool's space; nil where the table has none.
	imagefs  *imagefs.FS
	shown    string      // what was last logged of a fault in it
	showNext time.Time   // a fault is not tried again before
	leaves   atomic.Bool // the table is gone, and with it the imagefs

	// unready is why requests are not answered yet.
	unready atomic.Pointer[error]
	trouble string // what was last logged
}

// retryEvery is how soon what keeps a snapshotter from answering is looked at again.
const retryEvery = 2 * time.Second

var (
	errStarting = errors.New("it has just been started")
	// errReplaced: another pool has the name now.
	errReplaced = errors.New("another pool of that name has taken its place")
	// errUnserved: nobody can connect any more.
	errUnserved = errors.New("the socket is lost")
)

// refreshSnapshotters begins to serve what the configuration has and ends what it
// has no more; a table that has changed is both. d.mu is held.
func (d *Daemon) refreshSnapshotters(ctx context.Context, all *sync.WaitGroup) {
	tables := d.config.Containerds()
	var leaving []*snapshotter // a new one may need a socket of theirs
	for name, s := range d.snapshotters {
		if slices.Contains(tables, s.table) {
			continue
		}
		s.leaves.Store(!slices.ContainsFunc(tables, func(t config.Containerd) bool {
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
		s := &snapshotter{d: d, table: table, end: end, ended: make(chan struct{}), tried: make(chan struct{}), kicks: make(chan struct{}, 1),
			log: d.log.With("snapshotter", table.Name, "pool", table.Pool)}
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

// run serves until ctx ends, and tries again whatever keeps it from that.
func (s *snapshotter) run(ctx context.Context) {
	defer close(s.ended)
	defer s.d.metrics.ForgetSnapshotter(s.table.Name)
	defer s.settled()
	defer s.removeImageFS()
	for ctx.Err() == nil {
		s.noteReady(errStarting)
		err := s.serve(ctx)
		if ctx.Err() != nil {
			if err != nil {
				s.log.Warn("a snapshotter did not end well", "error", err)
			}
			return
		}
		s.failed(err)
		s.pause(ctx)
	}
}

// settled lets the daemon say that it is ready.
func (s *snapshotter) settled() { s.once.Do(func() { close(s.tried) }) }

func (s *snapshotter) pause(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, retryEvery)
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

// failed tells of a fault, once.
func (s *snapshotter) failed(err error) {
	s.noteReady(err)
	if text := err.Error(); text != s.trouble {
		s.trouble = text
		s.log.Error("containerd is not served, which is tried again", "error", err)
	}
	s.settled()
}

// noteReady notes why requests cannot be answered, or with nil that they can.
func (s *snapshotter) noteReady(err error) {
	s.d.metrics.Snapshotter(s.table.Name, s.table.Pool, err == nil)
	if err == nil {
		s.unready.Store(nil)
		return
	}
	err = fmt.Errorf("pool %s is not ready for containerd: %w", s.table.Pool, err)
	s.unready.Store(&err)
}

func (s *snapshotter) answers() error {
	if why := s.unready.Load(); why != nil {
		return *why
	}
	return nil
}

// serve opens the pool and answers on the socket until ctx ends, or the pool is
// another one. Requests that come before what killed processes have left is
// finished are told to come again.
func (s *snapshotter) serve(ctx context.Context) (err error) {
	if w := s.d.watcher(s.table.Pool); w != nil {
		select {
		case <-w.started: // it has activated the pool, or could not
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
	backend, err := containerd.New(pool, o.Files, containerd.Options{Namespace: s.table.Namespace, FS: filesystem.Type(s.table.FileSystem),
		Size: s.table.Size, Log: s.log, Exclusive: func(volume string) (containerd.Scanned, bool) { return s.d.scanned(s.table.Pool, volume) }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backend.Close()) }()
	diffs, err := differ.New(backend, differ.Options{Containerd: s.table.Containerd, Ready: s.answers, Log: s.log})
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
		ended <- containerd.Serve(serving, listener, backend, containerd.ServeOptions{Observe: s.observe, Ready: s.answers, Services: diffs.Register})
	}()
	err = s.keepReady(serving, pool, backend, ended)
	stop()
	return errors.Join(err, <-ended)
}

// keepReady finishes what was left once the pool is active, and again when it has
// been away. It returns when serving has ended or must.
func (s *snapshotter) keepReady(ctx context.Context, pool *thinpool.Pool, backend *containerd.Snapshotter, ended chan error) error {
	ready, first := false, true
	for {
		sample, seen := s.sample()
		active := seen && sample.Err == nil && sample.Status.Active
		if active {
			s.showSpace(ctx, sample.Status.Data)
		}
		switch {
		case active && sample.Status.Record.UUID != pool.UUID():
			return errReplaced
		case !active && ready:
			ready = false
			s.d.metrics.Snapshotter(s.table.Name, s.table.Pool, false) // requests are told what is wrong by whom they ask
		case !ready:
			bounded, cancel := context.WithTimeout(ctx, reviveBound)
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
				s.trouble = ""
				s.noteReady(nil)
				s.log.Info("containerd is served", "socket", s.table.Socket, "namespace", s.table.Namespace)
				s.settled()
			}
		}
		bounded, cancel := context.WithTimeout(ctx, retryEvery)
		select {
		case <-bounded.Done():
		case <-s.kicks:
		case err := <-ended:
			cancel()
			ended <- nil
			return errors.Join(errUnserved, err)
		}
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if _, err := os.Lstat(s.table.Socket); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w", errUnserved, err)
		}
	}
}

// showSpace has the imagefs, if there is one, show the pool's space. A fault in it keeps
// nothing else from working.
func (s *snapshotter) showSpace(ctx context.Context, data thinpool.Space) {
	if s.imagefs == nil || time.Now().Before(s.showNext) {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, actBound)
	defer cancel()
	err := s.imagefs.Show(bounded, data.Total, data.Available)
	if err == nil {
		s.shown = ""
		return
	}
	s.showNext = time.Now().Add(time.Minute)
	if text := err.Error(); text != s.shown && ctx.Err() == nil {
		s.shown = text
		s.log.Error("the kubelet does not see the pool's space, which is tried again", "error", err)
	}
}

// removeImageFS takes the imagefs away when the configuration does not have it any more.
// A daemon that ends leaves it mounted.
func (s *snapshotter) removeImageFS() {
	if s.imagefs == nil || !s.leaves.Load() {
		return
	}
	bounded, cancel := context.WithTimeout(context.Background(), actBound)
	defer cancel()
	if err := s.imagefs.Remove(bounded); err != nil {
		s.log.Error("the file system that showed the pool's space is left", "directory", s.table.ImageFS, "error", err)
	}
}

func (s *snapshotter) sample() (metrics.Sample, bool) {
	w := s.d.watcher(s.table.Pool)
	if w == nil {
		return metrics.Sample{}, false
	}
	return w.published()
}

// observe counts a request, and logs it where everything is.
func (s *snapshotter) observe(method string) (ended func(code string)) {
	counted := s.d.metrics.Request(s.table.Name, method)
	return func(code string) {
		counted(code)
		s.log.Debug("request", "method", method, "code", code)
	}
}

// watcher returns that of a pool, nil where there is none.
func (d *Daemon) watcher(pool string) *watcher {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.watchers[pool]
}

// scanned is what the last scan of a pool has found of a volume.
func (d *Daemon) scanned(pool, volume string) (containerd.Scanned, bool) {
	w := d.watcher(pool)
	if w == nil {
		return containerd.Scanned{}, false
	}
	w.chores.mu.Lock()
	defer w.chores.mu.Unlock()
	found, known := w.chores.exact[volume]
	return found, known
}

// exactOf makes a scan quick to ask.
func exactOf(u thinpool.Usage) map[string]containerd.Scanned {
	exact := map[string]containerd.Scanned{}
	for _, volume := range u.Volumes {
		if volume.Name != "" && !volume.Removed {
			exact[volume.Name] = containerd.Scanned{Exclusive: volume.Exclusive, Mapped: volume.Mapped}
		}
	}
	return exact
}

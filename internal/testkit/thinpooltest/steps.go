package thinpooltest

import (
	"context"
	"errors"
	"sync"

	"thinctl/dm"
	"thinctl/loopback"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// ErrStopped is the error of every call after the process has been stopped.
var ErrStopped = errors.New("thinpooltest: the process has been stopped here")

// Phase is the side of a step at which a process stops.
type Phase int

// The two phases.
const (
	Before Phase = iota
	After
)

type steps struct {
	mu      sync.Mutex
	count   int
	stopAt  int
	phase   Phase
	stopped bool
	last    string
}

// StopAt stops the process at its n-th step from here, counted from 1.
func (f *Fixture) StopAt(n int, phase Phase) {
	f.steps.mu.Lock()
	defer f.steps.mu.Unlock()
	f.steps.count, f.steps.stopAt, f.steps.phase, f.steps.stopped = 0, n, phase, false
}

// Restart starts a new process. It reports whether the old one was stopped, and at which
// step.
func (f *Fixture) Restart() (step string, stopped bool) {
	f.steps.mu.Lock()
	defer f.steps.mu.Unlock()
	stopped, step = f.steps.stopped, f.steps.last
	f.steps.stopAt, f.steps.stopped = 0, false
	return step, stopped
}

// Step makes do a step. It is for calls outside the pool, such as those to the file systems
// on its volumes.
func (f *Fixture) Step(name string, do func() error) error { return f.steps.take(name, do) }

// take runs one step, unless the process has ended.
func (s *steps) take(name string, do func() error) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return ErrStopped
	}
	s.count++
	here := s.stopAt != 0 && s.count == s.stopAt
	if here {
		s.stopped, s.last = true, name
	}
	s.mu.Unlock()
	if here && s.phase == Before {
		return ErrStopped
	}
	err := do()
	if here {
		return ErrStopped
	}
	return err
}

// Steps returns a host whose every call is a step: take runs it or does not.
func Steps(host thinpool.Host, take func(name string, do func() error) error) thinpool.Host {
	host.Kernel = stepKernel{host.Kernel, take}
	host.Loops = stepLoops{host.Loops, take}
	host.Disks = stepDisks{host.Disks, take}
	host.BeforeStore = func(write bool) error {
		if !write {
			return take("database view", func() error { return nil })
		}
		return take("database update", func() error { return nil })
	}
	return host
}

type taker func(name string, do func() error) error

func get[T any](take taker, name string, do func() (T, error)) (v T, err error) {
	err = take(name, func() (err error) {
		v, err = do()
		return err
	})
	return v, err
}

type stepKernel struct {
	dm.Kernel
	take taker
}

func (k stepKernel) Create(ctx context.Context, name dm.Name, uuid dm.UUID) (dm.Info, error) {
	return get(k.take, "create "+string(name), func() (dm.Info, error) { return k.Kernel.Create(ctx, name, uuid) })
}

func (k stepKernel) Remove(ctx context.Context, ref dm.Ref, o dm.RemoveOptions) (bool, error) {
	return get(k.take, "remove "+ref.String(), func() (bool, error) { return k.Kernel.Remove(ctx, ref, o) })
}

func (k stepKernel) Rename(ctx context.Context, ref dm.Ref, name dm.Name) error {
	return k.take("rename "+ref.String(), func() error { return k.Kernel.Rename(ctx, ref, name) })
}

func (k stepKernel) MakeOwnNode(ctx context.Context, info dm.Info) error {
	return k.take("own node of "+string(info.Name), func() error { return k.Kernel.MakeOwnNode(ctx, info) })
}

func (k stepKernel) Load(ctx context.Context, ref dm.Ref, table []dm.Target, o dm.LoadOptions) error {
	return k.take("load "+ref.String(), func() error { return k.Kernel.Load(ctx, ref, table, o) })
}

func (k stepKernel) Clear(ctx context.Context, ref dm.Ref) error {
	return k.take("clear "+ref.String(), func() error { return k.Kernel.Clear(ctx, ref) })
}

func (k stepKernel) Suspend(ctx context.Context, ref dm.Ref, o dm.SuspendOptions) error {
	return k.take("suspend "+ref.String(), func() error { return k.Kernel.Suspend(ctx, ref, o) })
}

func (k stepKernel) Resume(ctx context.Context, ref dm.Ref, o dm.ResumeOptions) (dm.Info, error) {
	return get(k.take, "resume "+ref.String(), func() (dm.Info, error) { return k.Kernel.Resume(ctx, ref, o) })
}

func (k stepKernel) Message(ctx context.Context, ref dm.Ref, text string) (string, error) {
	return get(k.take, "message "+text, func() (string, error) { return k.Kernel.Message(ctx, ref, text) })
}

func (k stepKernel) Info(ctx context.Context, ref dm.Ref) (dm.Info, error) {
	return get(k.take, "info "+ref.String(), func() (dm.Info, error) { return k.Kernel.Info(ctx, ref) })
}

func (k stepKernel) Table(ctx context.Context, ref dm.Ref) ([]dm.Line, error) {
	return get(k.take, "table "+ref.String(), func() ([]dm.Line, error) { return k.Kernel.Table(ctx, ref) })
}

func (k stepKernel) List(ctx context.Context) ([]dm.Entry, error) {
	return get(k.take, "list", func() ([]dm.Entry, error) { return k.Kernel.List(ctx) })
}

func (k stepKernel) Status(ctx context.Context, ref dm.Ref, o dm.StatusOptions) (info dm.Info, lines []dm.Line,
	err error) {
	err = k.take("status "+ref.String(), func() (err error) {
		info, lines, err = k.Kernel.Status(ctx, ref, o)
		return err
	})
	return info, lines, err
}

type stepLoops struct {
	loopback.Loops
	take taker
}

func (l stepLoops) Attach(ctx context.Context, file string, o loopback.AttachOptions) (loopback.Device, error) {
	return get(l.take, "attach "+file, func() (loopback.Device, error) { return l.Loops.Attach(ctx, file, o) })
}

func (l stepLoops) Find(ctx context.Context, file string) ([]loopback.Device, error) {
	return get(l.take, "find "+file, func() ([]loopback.Device, error) { return l.Loops.Find(ctx, file) })
}

func (l stepLoops) Refresh(ctx context.Context, d loopback.Device) (units.Bytes, error) {
	return get(l.take, "refresh "+d.Path, func() (units.Bytes, error) { return l.Loops.Refresh(ctx, d) })
}

func (l stepLoops) Detach(ctx context.Context, d loopback.Device) error {
	return l.take("detach "+d.Path, func() error { return l.Loops.Detach(ctx, d) })
}

type stepDisks struct {
	thinpool.Disks
	take taker
}

func (d stepDisks) MakeDir(path string) error {
	return d.take("mkdir "+path, func() error { return d.Disks.MakeDir(path) })
}

func (d stepDisks) CreateSparse(path string, size units.Bytes, o loopback.FileOptions) error {
	return d.take("create "+path, func() error { return d.Disks.CreateSparse(path, size, o) })
}

func (d stepDisks) Grow(path string, size units.Bytes, o loopback.FileOptions) error {
	return d.take("grow "+path, func() error { return d.Disks.Grow(path, size, o) })
}

func (d stepDisks) WriteFile(path string, content []byte) error {
	return d.take("write "+path, func() error { return d.Disks.WriteFile(path, content) })
}

func (d stepDisks) Rename(from, to string) error {
	return d.take("rename "+from, func() error { return d.Disks.Rename(from, to) })
}

func (d stepDisks) Remove(path string) error {
	return d.take("remove "+path, func() error { return d.Disks.Remove(path) })
}

func (d stepDisks) Wipe(path string, offset, length units.Bytes) error {
	return d.take("wipe "+path, func() error { return d.Disks.Wipe(path, offset, length) })
}

func (d stepDisks) Flush(ctx context.Context, node string) error {
	return d.take("flush "+node, func() error { return d.Disks.Flush(ctx, node) })
}

func (d stepDisks) Discard(ctx context.Context, node string, offset, length units.Bytes) error {
	return d.take("discard "+node, func() error { return d.Disks.Discard(ctx, node, offset, length) })
}

func (d stepDisks) Stamp(path string, uuid [16]byte) error {
	return d.take("stamp "+path, func() error { return d.Disks.Stamp(path, uuid) })
}

func (d stepDisks) Superblock(path string) (metadata.Superblock, error) {
	return get(d.take, "superblock "+path, func() (metadata.Superblock, error) { return d.Disks.Superblock(path) })
}

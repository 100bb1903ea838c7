package snapshotstest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/testkit/dmtest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// Files are file systems in memory. They are safe for concurrent use.
type Files struct {
	// Patience limits how long IO is blocked by a suspended device or by a full pool that
	// queues. Set it before use.
	Patience time.Duration
	// Left, if set, is the result of Space. Set it before use.
	Left func(target string) filesystem.Space

	kernel *dmtest.Kernel
	step   func(name string, do func() error) error
	dir    string

	mu               sync.Mutex
	versions         map[uint64]version
	mounts           map[string]*mount                       // by target
	formats, mounted int                                     // numbers so far
	others           map[blockdev.Number][]filesystem.Holder // other mount namespaces
}

var _ snapshots.Files = (*Files)(nil)

// version is one saved state of a file system.
type version struct {
	kind  filesystem.Type
	size  units.Bytes
	files map[string]string // path -> digest
}

type mount struct {
	dev      blockdev.Number
	target   string
	readOnly bool
	lazy     bool   // without barriers: an unmount does not flush
	number   uint64 // the version in which the tree was last saved
	size     units.Bytes
	users    int
	release  func()
}

func newFiles(t thinpooltest.TB, kernel *dmtest.Kernel, step func(string, func() error) error) *Files {
	return &Files{Patience: 5 * time.Second, kernel: kernel, step: step, dir: t.TempDir(), versions: map[uint64]version{},
		mounts: map[string]*mount{},
		others: map[blockdev.Number][]filesystem.Holder{}}
}

// Counts returns how many file systems have been formatted and mounted so far.
func (f *Files) Counts() (formats, mounts int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.formats, f.mounted
}

// Targets returns the mount points.
func (f *Files) Targets() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.mounts))
}

func (f *Files) locked(name string, do func() error) error {
	return f.step(name, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		return do()
	})
}

// Format implements [snapshots.Files].
func (f *Files) Format(ctx context.Context, device string, o filesystem.FormatOptions) error {
	return f.locked("format "+device, func() error {
		dev, size, err := f.device(ctx, device)
		if err != nil {
			return err
		}
		number, err := f.number(dev)
		if err != nil {
			return err
		}
		if number != 0 && !o.Force {
			return &filesystem.Error{Op: "format", Object: device, Kind: filesystem.ErrSignature}
		}
		tree, err := os.MkdirTemp(f.dir, "format-")
		if err != nil {
			return err
		}
		if o.Type == filesystem.Ext4 {
			if err := os.Mkdir(filepath.Join(tree, "lost+found"), 0o700); err != nil {
				return err
			}
		}
		f.formats++
		_, err = f.save(dev, 0, o.Type, size, tree)
		return err
	})
}

// Slim implements [snapshots.Files]: Format writes no zeros here.
func (f *Files) Slim(context.Context, string) error { return nil }

// Mount implements [snapshots.Files].
func (f *Files) Mount(ctx context.Context, device, target string, o filesystem.MountOptions) error {
	return f.locked("mount "+device, func() error {
		dev, size, err := f.device(ctx, device)
		if err != nil {
			return err
		}
		number, err := f.number(dev)
		if err != nil {
			return err
		}
		v, formatted := f.versions[number]
		failed := func(kind error) error {
			return &filesystem.Error{Op: "mount", Object: device + " at " + target, Kind: kind}
		}
		switch {
		case !formatted:
			return failed(filesystem.ErrNoFilesystem)
		case o.Type != "" && o.Type != v.kind || v.size > size:
			return failed(fault.Damaged)
		case f.mounts[target] != nil:
			return failed(filesystem.ErrMountPoint)
		}
		for _, m := range f.mounts {
			if m.dev == dev && (!m.readOnly || !o.ReadOnly) {
				return failed(fault.Busy)
			}
		}
		return f.attach(dev, target, number, v, o)
	})
}

func (f *Files) attach(dev blockdev.Number, target string, number uint64, v version, o filesystem.MountOptions) error {
	if o.MakeTarget {
		if err := os.MkdirAll(target, 0o700); err != nil {
			return err
		}
	}
	release, err := f.kernel.Hold(dev)
	if err != nil {
		return err
	}
	if err := copyTree(f.path(number), target); err != nil {
		release()
		return err
	}
	f.mounted++
	f.mounts[target] = &mount{dev: dev, target: target, readOnly: o.ReadOnly,
		lazy:   slices.Contains(o.Options, "barrier=0"),
		number: number, size: v.size, release: release}
	return nil
}

// Unmount implements [snapshots.Files].
func (f *Files) Unmount(_ context.Context, target string, o filesystem.UnmountOptions) error {
	return f.locked("unmount "+target, func() error {
		m := f.mounts[target]
		failed := func(kind error) error { return &filesystem.Error{Op: "unmount", Object: target, Kind: kind} }
		switch {
		case m == nil:
			return failed(filesystem.ErrNotMounted)
		case m.users > 0 && !o.Lazy:
			return failed(fault.Busy)
		}
		// The kernel unmounts even if a write has failed.
		if err := f.write(m); err == nil {
			if err := f.flush(m); err != nil {
				return err
			}
		}
		delete(f.mounts, target)
		if m.users == 0 {
			m.release()
		}
		return empty(target)
	})
}

// flush makes written data durable, unless the mount has no barriers.
func (f *Files) flush(m *mount) error {
	if m.lazy || m.readOnly {
		return nil
	}
	return f.patiently(func() error { return f.kernel.Flush(m.dev) })
}

// Use makes a process use files below a target until leave is called.
func (f *Files) Use(target string) (leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.mounts[target]
	m.users++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if m.users--; m.users == 0 && f.mounts[target] != m {
			m.release()
		}
	}
}

// MountElsewhere mounts a device in another mount namespace until leave is called.
func (f *Files) MountElsewhere(dev blockdev.Number, holder filesystem.Holder) (leave func(), err error) {
	release, err := f.kernel.Hold(dev)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.others[dev] = append(f.others[dev], holder)
	return func() {
		release()
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.others, dev)
	}, nil
}

// Grow implements [snapshots.Files].
func (f *Files) Grow(ctx context.Context, device, target string) error {
	return f.locked("grow "+target, func() error {
		dev, size, err := f.device(ctx, device)
		if err != nil {
			return err
		}
		m := f.mounts[target]
		if m == nil || m.dev != dev || m.readOnly {
			return &filesystem.Error{Op: "grow", Object: target, Kind: filesystem.ErrNotMounted}
		}
		m.size = size
		return f.write(m)
	})
}

// Trim implements [snapshots.Files]: it discards the blocks that hold no file.
func (f *Files) Trim(_ context.Context, target string) (offered units.Bytes, err error) {
	err = f.locked("trim "+target, func() error {
		m := f.mounts[target]
		if m == nil {
			return &filesystem.Error{Op: "trim", Object: target, Kind: filesystem.ErrNotMounted}
		}
		if err := f.write(m); err != nil {
			return err
		}
		block := f.kernel.StampBlock(m.dev)
		used := map[uint64]bool{0: true}
		for path := range f.versions[m.number].files {
			used[f.place(m.dev, m.size, path)] = true
		}
		for at := uint64(0); units.Bytes(at+1)*block <= m.size; at++ {
			if used[at] {
				continue
			}
			if err := f.kernel.Discard(m.dev, units.Bytes(at)*block, block); err != nil {
				return err
			}
			offered += block
		}
		return nil
	})
	return offered, err
}

// Sync implements [snapshots.Files].
func (f *Files) Sync(_ context.Context, target string) error {
	return f.locked("sync "+target, func() error {
		m := f.mounts[target]
		if m == nil {
			return &filesystem.Error{Op: "sync", Object: target, Kind: filesystem.ErrNotMounted}
		}
		return errors.Join(f.write(m), f.flush(m))
	})
}

// Space implements [snapshots.Files].
func (f *Files) Space(target string) (filesystem.Space, error) {
	if f.Left == nil {
		return filesystem.Space{}, &filesystem.Error{Op: "measure", Object: target, Kind: fault.Unsupported}
	}
	return f.Left(target), nil
}

// Mounts implements [snapshots.Files].
func (f *Files) Mounts(device blockdev.Number) (points []filesystem.MountPoint, err error) {
	err = f.locked("list mounts", func() error {
		for _, target := range slices.Sorted(maps.Keys(f.mounts)) {
			if m := f.mounts[target]; m.dev == device {
				points = append(points, filesystem.MountPoint{Path: target, Root: "/", ReadOnly: m.readOnly})
			}
		}
		return nil
	})
	return points, err
}

// Holders implements [snapshots.Files].
func (f *Files) Holders(_ context.Context, device blockdev.Number) (holders []filesystem.Holder, err error) {
	err = f.locked("find holders", func() error {
		own := filesystem.Holder{Namespace: 1, Own: true}
		for _, m := range f.mounts {
			if m.dev == device {
				own.MountPoints = append(own.MountPoints, m.target)
			}
		}
		if own.MountPoints != nil {
			holders = append(holders, own)
		}
		holders = append(holders, f.others[device]...)
		return nil
	})
	return holders, err
}

// NeedsRecovery implements [snapshots.Files]: these file systems have no journal.
func (f *Files) NeedsRecovery(string) (bool, error) {
	return false, f.step("read the journal", func() error { return nil })
}

// Inodes counts the files and directories of a file system.
func (f *Files) Inodes(device, target string) (count uint64, err error) {
	err = f.step("count the inodes of "+device, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		dev, _, err := f.device(context.Background(), device)
		if err != nil {
			return err
		}
		if target != "" {
			if m := f.mounts[target]; m == nil || m.dev != dev {
				return &filesystem.Error{Op: "count the inodes of", Object: target, Kind: filesystem.ErrNotMounted}
			}
			files, err := digests(target)
			count = uint64(len(files))
			return err
		}
		number, err := f.number(dev)
		count = uint64(len(f.versions[number].files))
		return err
	})
	return count, err
}

// device returns the device of a node.
func (f *Files) device(ctx context.Context, node string) (blockdev.Number, units.Bytes, error) {
	dev, ok := f.kernel.Behind(node)
	if !ok {
		return dev, 0, fmt.Errorf("%s: %w", node, os.ErrNotExist)
	}
	lines, err := f.kernel.Table(ctx, dm.ByDev(dev))
	if err != nil || len(lines) == 0 {
		return dev, 0, errors.Join(err, fmt.Errorf("%s has no table", node))
	}
	return dev, lines[0].Length.Bytes(), nil
}

package snapshots

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/internal/filelock"
	"thinctl/internal/names"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// Tree is the file tree of a volume.
type Tree struct {
	Volume string
	FS     filesystem.Type
	// Written reports that processes may have the volume mounted and write to it.
	Written bool
	// empty is the size of the template that the tree is, or 0.
	empty units.Bytes
}

// Tree returns the tree of the snapshot.
func (r Record) Tree() Tree {
	return Tree{Volume: r.Volume, FS: r.FS, Written: r.Kind == core.KindActive}
}

// EmptyTree returns the tree of the template of a type and a size.
func EmptyTree(fs filesystem.Type, size units.Bytes) Tree {
	return Tree{Volume: TemplateVolume(templateKey(fs, size)), FS: fs, empty: size}
}

// TreeMount is a tree that is mounted in a directory of its own, or in the place where
// another owner has mounted it.
type TreeMount struct {
	// Root is the root of the tree.
	Root string

	s      *Snapshotter
	volume string
	node   string         // of the device; "" if another owner mounted it
	alive  *filelock.Lock // nil if another owner mounted it
	once   sync.Once
	err    error
}

// treePrefix is the prefix of the mount points of trees. A random name, which a living
// mount has locked, and the name of the volume follow.
const treePrefix = ".view-"

// MountTree mounts a tree read-only in a directory of its own, or returns where it is
// mounted if processes write to it. The mount must be closed; until then the volume
// cannot be removed.
func (s *Snapshotter) MountTree(ctx context.Context, t Tree) (*TreeMount, error) {
	if t.empty != 0 { // a repair may have found the template missing
		if _, err := s.Template(ctx, t.FS, t.empty); err != nil {
			return nil, err
		}
	}
	lock, err := s.lock(ctx, lockVolume, t.Volume)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	// The journal of a volume that is written may have to be replayed first. The
	// snapshots of all other trees were taken frozen or unmounted, and are never
	// written again.
	o := filesystem.MountOptions{Type: t.FS, ReadOnly: true, NoRecovery: !t.Written,
		Options: []string{"nosuid", "nodev", "noexec", "noatime"}}
	if t.Written {
		_, points, err := s.MountsOf(ctx, t.Volume)
		if err != nil {
			return nil, err
		}
		for _, point := range points {
			if !s.IsTreeMount(point.Path) {
				return &TreeMount{Root: point.Path}, nil
			}
		}
	}
	return s.mountTree(ctx, t.Volume, o)
}

// WithTrees calls f while both trees can be read. related reports whether one was made of
// the other.
func (s *Snapshotter) WithTrees(ctx context.Context, lower, upper Tree, related bool, f func(Trees) error) error {
	return s.withTree(ctx, lower, func(l shownTree) error {
		return s.withTree(ctx, upper, func(u shownTree) error {
			return f(s.comparison(ctx, l, u, related))
		})
	})
}

// withTree calls f with a tree. If processes may be writing to it, f reads a snapshot of
// it, or the tree itself if no snapshot can be taken: a pool that is full can be read.
func (s *Snapshotter) withTree(ctx context.Context, t Tree, f func(shownTree) error) error {
	if t.Written {
		status, err := s.pool.VolumeStatus(ctx, t.Volume)
		if err != nil {
			return err
		}
		if status.Active {
			taken := false
			err := s.withFrozen(ctx, Record{Volume: t.Volume, FS: t.FS}, func(frozen shownTree) error {
				taken = true
				return f(frozen)
			})
			if taken || ctx.Err() != nil {
				return err
			}
			s.options.Log.Debug("a tree is read where it is mounted, since no snapshot could be taken",
				"pool", s.pool.Name(), "volume", t.Volume, "error", err)
		}
	}
	m, err := s.MountTree(ctx, t)
	if err != nil {
		return err
	}
	return errors.Join(f(shownTree{m.Root, t.Volume, m.node, t.FS}), m.Close())
}

// WithMounted calls do with the root of a volume that it mounts to be written. The
// device stays active if keep is set. The caller holds the volume's lock, and the volume
// is not mounted.
func (s *Snapshotter) WithMounted(
	ctx context.Context,
	volume string,
	o filesystem.MountOptions,
	keep bool,
	do func(root string) error,
) error {
	m, err := s.mountTree(ctx, volume, o)
	if err != nil {
		return err
	}
	err = do(m.Root)
	if keep {
		return errors.Join(err, removeMount(ctx, s.files, m.Root), m.alive.Release())
	}
	return errors.Join(err, m.close(ctx))
}

// mountTree mounts a volume in a directory of its own. The caller holds the volume's
// lock.
func (s *Snapshotter) mountTree(ctx context.Context, volume string, o filesystem.MountOptions) (*TreeMount, error) {
	id := names.Random(16)
	alive, err := s.lock(ctx, lockTree, id)
	if err != nil {
		return nil, err
	}
	m := &TreeMount{Root: filepath.Join(s.MountsDir(), treePrefix+id+"."+volume), s: s, volume: volume, alive: alive}
	active, err := s.pool.ActivateVolume(ctx, volume)
	if err == nil {
		o.MakeTarget, m.node = true, active.Node
		err = s.files.Mount(ctx, active.Node, m.Root, o)
	}
	if gone(err) {
		err = &Error{Op: "view", Object: "volume " + volume, Kind: fault.NotFound, Err: err}
	}
	if err != nil {
		return nil, errors.Join(err, m.close(ctx))
	}
	return m, nil
}

// Close ends the mount. Further calls return the same error.
func (m *TreeMount) Close() error {
	m.once.Do(func() {
		if m.alive == nil {
			return
		}
		ctx, cancel := contexts.Cleanup(context.Background())
		defer cancel()
		lock, err := m.s.lock(ctx, lockVolume, m.volume)
		if err != nil {
			m.err = errors.Join(err, m.alive.Release())
			return
		}
		m.err = errors.Join(m.close(ctx), lock.Release())
	})
	return m.err
}

// close is Close under the volume's lock.
func (m *TreeMount) close(ctx context.Context) error {
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	return errors.Join(m.s.clearTree(ctx, m.Root, m.volume, false), m.alive.Release())
}

// clearTree unmounts a tree, and deactivates the volume unless it is open. Recover
// finds what a killed process leaves of it: the directory by its name, then the device
// because no process has it open.
func (s *Snapshotter) clearTree(ctx context.Context, root, volume string, lazy bool) error {
	err := s.files.Unmount(ctx, root, filesystem.UnmountOptions{Lazy: lazy})
	if err != nil && !errors.Is(err, filesystem.ErrNotMounted) {
		return err
	}
	if err := RemoveDir(root); err != nil {
		return err
	}
	if err := s.DeactivateUnused(ctx, volume); err != nil && !gone(err) {
		return err
	}
	return nil
}

// splitTree splits the name of a tree's mount directory.
func splitTree(dir string) (id, volume string, ok bool) {
	rest, ok := strings.CutPrefix(dir, treePrefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ".")
}

// IsTreeMount reports whether a mount point is that of a [TreeMount].
func (s *Snapshotter) IsTreeMount(path string) bool {
	return strings.HasPrefix(path, filepath.Join(s.MountsDir(), treePrefix))
}

// MountsOf returns where this mount namespace has a volume mounted.
func (s *Snapshotter) MountsOf(
	ctx context.Context,
	volume string,
) (thinpool.Volume, []filesystem.MountPoint, error) {
	status, err := s.pool.VolumeStatus(ctx, volume)
	if err != nil || !status.Active {
		return status.Volume, nil, err
	}
	points, err := s.files.Mounts(status.Dev)
	return status.Volume, points, err
}

// DeactivateUnused deactivates a volume's device unless it is open.
func (s *Snapshotter) DeactivateUnused(ctx context.Context, volume string) error {
	err := s.pool.DeactivateIfClosed(ctx, volume)
	if errors.Is(err, thinpool.ErrOpen) {
		return nil
	}
	return err
}

package snapshots

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"

	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/internal/filelock"
	"thinctl/internal/names"
	"thinctl/snapshots/filesystem"
)

// View is the file tree of a volume, mounted to be read.
type View struct {
	// Root is the root of the tree.
	Root string

	s      *Store
	volume string
	alive  *filelock.Lock // nil if another owner mounted it
	once   sync.Once
	err    error
}

// viewPrefix is the prefix of the mount points of views. A random name, which a living
// view has locked, and the name of the volume follow.
const viewPrefix = ".view-"

// Tree is a file tree of the store; the zero value is no tree.
type Tree struct {
	volume    string
	container string // its id, where it may be mounted to be written
	fs        filesystem.Type
}

// Tree returns the tree of the layer.
func (l Layer) Tree() Tree { return Tree{volume: layerVolume(l.ID), fs: l.FS} }

// Below returns the tree that the layer is the difference to: that of its parent, of
// its init, or the empty tree of a base layer.
func (l Layer) Below() Tree {
	switch {
	case l.Base != "":
		return Tree{volume: initVolume(l.Base), fs: l.FS}
	case l.Parent != "":
		return Tree{volume: layerVolume(l.Parent), fs: l.FS}
	}
	return Tree{volume: templateVolume(templateKey(l.FS, l.Volume)), fs: l.FS}
}

// Tree returns the present tree of the container.
func (c Container) Tree() Tree {
	return Tree{volume: containerVolume(c.ID), container: c.ID, fs: c.FS}
}

// Below returns the tree that the container began as.
func (c Container) Below() Tree { return Tree{volume: initVolume(c.Init), fs: c.FS} }

// ViewLayer mounts a layer read-only in a directory of its own. The view must be
// closed; until then the layer cannot be removed.
func (s *Store) ViewLayer(ctx context.Context, id string) (*View, error) {
	layer, err := s.Layer(ctx, id)
	if err != nil {
		return nil, err
	}
	view, err := s.View(ctx, layer.Tree())
	return view, failed("view", "layer "+short(layer.ID), err)
}

// ViewContainer returns the mounted tree of a container, or mounts it read-only like
// ViewLayer.
func (s *Store) ViewContainer(ctx context.Context, id string) (*View, error) {
	c, err := s.Container(ctx, id)
	if err != nil {
		return nil, err
	}
	view, err := s.View(ctx, c.Tree())
	return view, failed("view", "container "+c.Name, err)
}

// View is ViewLayer or ViewContainer for a tree.
func (s *Store) View(ctx context.Context, t Tree) (*View, error) {
	lock, err := s.lock(ctx, lockVolume, t.volume)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	// The journal of a container may have to be replayed first. The snapshots of all
	// other trees were taken frozen or unmounted, and are never written again.
	o := filesystem.MountOptions{Type: t.fs, ReadOnly: true, NoRecovery: t.container == "",
		Options: []string{"nosuid", "nodev", "noexec", "noatime"}}
	if t.container != "" {
		_, points, err := s.mountsOf(ctx, t.volume)
		if err != nil {
			return nil, err
		}
		for _, point := range points {
			if !s.isView(point.Path) {
				return &View{Root: point.Path}, nil
			}
		}
	}
	return s.mountView(ctx, t.volume, o)
}

// WithTrees calls f while both trees can be read.
func (s *Store) WithTrees(ctx context.Context, lower, upper Tree, f func(lower, upper string) error) error {
	l, err := s.View(ctx, lower)
	if err != nil {
		return err
	}
	u, err := s.View(ctx, upper)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return errors.Join(f(l.Root, u.Root), u.Close(), l.Close())
}

// mountView mounts a volume in a directory of its own. The caller holds the volume's
// lock.
func (s *Store) mountView(ctx context.Context, volume string, o filesystem.MountOptions) (*View, error) {
	id := names.Random(16)
	alive, err := s.lock(ctx, lockView, id)
	if err != nil {
		return nil, err
	}
	v := &View{Root: filepath.Join(s.MountsDir(), viewPrefix+id+"."+volume), s: s, volume: volume, alive: alive}
	active, err := s.pool.ActivateVolume(ctx, volume)
	if err == nil {
		o.MakeTarget = true
		err = s.files.Mount(ctx, active.Node, v.Root, o)
	}
	if originGone(err) {
		err = &Error{Op: "view", Object: "volume " + volume, Kind: fault.NotFound, Err: err}
	}
	if err != nil {
		return nil, errors.Join(err, v.close(ctx))
	}
	return v, nil
}

// Close ends the view. Further calls return the same error.
func (v *View) Close() error {
	v.once.Do(func() {
		if v.alive == nil {
			return
		}
		ctx, cancel := contexts.Cleanup(context.Background())
		defer cancel()
		lock, err := v.s.lock(ctx, lockVolume, v.volume)
		if err != nil {
			v.err = errors.Join(err, v.alive.Release())
			return
		}
		v.err = errors.Join(v.close(ctx), lock.Release())
	})
	return v.err
}

// close is Close under the volume's lock.
func (v *View) close(ctx context.Context) error {
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	return errors.Join(v.s.clearView(ctx, v.Root, v.volume, false), v.alive.Release())
}

// clearView unmounts a view, and deactivates the volume unless it is open. Recover
// finds what a killed process leaves of it: the directory by its name, then the device
// because no process has it open.
func (s *Store) clearView(ctx context.Context, root, volume string, lazy bool) error {
	err := s.files.Unmount(ctx, root, filesystem.UnmountOptions{Lazy: lazy})
	if err != nil && !errors.Is(err, filesystem.ErrNotMounted) {
		return err
	}
	if err := removeDir(root); err != nil {
		return err
	}
	if err := s.deactivateUnused(ctx, volume); err != nil && !originGone(err) {
		return err
	}
	return nil
}

// splitView splits the name of a view's directory.
func splitView(dir string) (id, volume string, ok bool) {
	rest, ok := strings.CutPrefix(dir, viewPrefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ".")
}

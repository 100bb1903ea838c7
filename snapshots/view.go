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
	"thinctl/snapshots/filesystem"
)

// View is a volume's file tree, to be read.
type View struct {
	// Root is where the tree begins.
	Root string

	s      *Store
	volume string
	alive  *filelock.Lock // nil: the mount is somebody else's
	once   sync.Once
	err    error
}

// viewPrefix begins the mount points of views. The rest is a random name, which
// a living view has locked, and the volume's.
const viewPrefix = ".view-"

// Tree names a file tree of the store; the zero value is nothing.
type Tree struct {
	volume    string
	container string // its id, where it may be mounted to be written
	fs        filesystem.Type
}

// Tree is the layer's own.
func (l Layer) Tree() Tree { return Tree{volume: layerVolume(l.ID), fs: l.FS} }

// Below is what the layer is the difference to: its parent's tree, its init's, or
// the empty tree of a base layer.
func (l Layer) Below() Tree {
	switch {
	case l.Base != "":
		return Tree{volume: initVolume(l.Base), fs: l.FS}
	case l.Parent != "":
		return Tree{volume: layerVolume(l.Parent), fs: l.FS}
	}
	return Tree{volume: templateVolume(templateKey(l.FS, l.Volume)), fs: l.FS}
}

// Tree is the container's own, as it is now.
func (c Container) Tree() Tree {
	return Tree{volume: containerVolume(c.ID), container: c.ID, fs: c.FS}
}

// Below is what the container began as.
func (c Container) Below() Tree { return Tree{volume: initVolume(c.Init), fs: c.FS} }

// ViewLayer mounts a layer read-only in a folder of its own. The view must be
// closed; until then the layer cannot be removed.
func (s *Store) ViewLayer(ctx context.Context, id string) (*View, error) {
	layer, err := s.Layer(ctx, id)
	if err != nil {
		return nil, err
	}
	view, err := s.View(ctx, layer.Tree())
	return view, failed("look at", "layer "+short(layer.ID), err)
}

// ViewContainer shows a container where it is mounted, else read-only as
// ViewLayer does.
func (s *Store) ViewContainer(ctx context.Context, id string) (*View, error) {
	c, err := s.Container(ctx, id)
	if err != nil {
		return nil, err
	}
	view, err := s.View(ctx, c.Tree())
	return view, failed("look at", "container "+c.Name, err)
}

// View is ViewLayer or ViewContainer of a tree.
func (s *Store) View(ctx context.Context, t Tree) (*View, error) {
	lock, err := s.lock(ctx, lockVolume, t.volume)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	// Of a container the journal may have to be replayed first. All other trees
	// were snapshotted frozen or unmounted, and are never written again.
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
	return s.look(ctx, t.volume, o)
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

// look mounts a volume in a folder of its own. The volume's lock is held.
func (s *Store) look(ctx context.Context, volume string, o filesystem.MountOptions) (*View, error) {
	id := newID(16)
	alive, err := s.lock(ctx, lockView, id)
	if err != nil {
		return nil, err
	}
	v := &View{Root: filepath.Join(s.mountsDir(), viewPrefix+id+"."+volume), s: s, volume: volume, alive: alive}
	active, err := s.pool.ActivateVolume(ctx, volume)
	if err == nil {
		o.MakeTarget = true
		err = s.files.Mount(ctx, active.Node, v.Root, o)
	}
	if goneBelow(err) {
		err = &Error{Op: "look at", Object: "volume " + volume, Kind: fault.NotFound, Err: err}
	}
	if err != nil {
		return nil, errors.Join(err, v.close(ctx))
	}
	return v, nil
}

// Close ends the view. Further calls say the same.
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

// clearView takes a view's mount away, and the volume's device unless somebody
// else uses it. Whatever a killed process has left of it, Recover finds: the
// folder by its name, then the device by having no opener.
func (s *Store) clearView(ctx context.Context, root, volume string, lazy bool) error {
	err := s.files.Unmount(ctx, root, filesystem.UnmountOptions{Lazy: lazy})
	if err != nil && !errors.Is(err, filesystem.ErrNotMounted) {
		return err
	}
	if err := removeFolder(root); err != nil {
		return err
	}
	if err := s.deactivateFree(ctx, volume); err != nil && !goneBelow(err) {
		return err
	}
	return nil
}

// splitView reads a view's folder name.
func splitView(folder string) (id, volume string, ok bool) {
	rest, ok := strings.CutPrefix(folder, viewPrefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ".")
}

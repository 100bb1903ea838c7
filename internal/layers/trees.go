package layers

import (
	"context"
	"errors"

	"thinctl/internal/filelock"
	"thinctl/snapshots"
)

// Tree returns the tree of the layer.
func (l Layer) Tree() snapshots.Tree { return snapshots.Tree{Volume: layerVolume(l.ID), FS: l.FS} }

// Below returns the tree that the layer is the difference to: that of its parent, of
// its init, or the empty tree of a base layer.
func (l Layer) Below() snapshots.Tree {
	switch {
	case l.Base != "":
		return snapshots.Tree{Volume: initVolume(l.Base), FS: l.FS}
	case l.Parent != "":
		return snapshots.Tree{Volume: layerVolume(l.Parent), FS: l.FS}
	}
	return snapshots.EmptyTree(l.FS, l.Volume)
}

// Below returns the tree that the init is the difference to.
func (i Init) Below() snapshots.Tree {
	if i.Layer != "" {
		return snapshots.Tree{Volume: layerVolume(i.Layer), FS: i.FS}
	}
	return snapshots.EmptyTree(i.FS, i.Volume)
}

// Tree returns the present tree of the container.
func (c Container) Tree() snapshots.Tree {
	return snapshots.Tree{Volume: containerVolume(c.ID), FS: c.FS, Written: true}
}

// Below returns the tree that the container began as.
func (c Container) Below() snapshots.Tree {
	return snapshots.Tree{Volume: initVolume(c.Init), FS: c.FS}
}

// ViewLayer mounts a layer read-only in a directory of its own. The mount must be
// closed; until then the layer cannot be removed.
func (s *Store) ViewLayer(ctx context.Context, id string) (*snapshots.TreeMount, error) {
	layer, err := s.Layer(ctx, id)
	if err != nil {
		return nil, err
	}
	tree, err := s.snaps.MountTree(ctx, layer.Tree())
	return tree, failed("view", "layer "+short(layer.ID), err)
}

// ViewContainer returns the mounted tree of a container, or mounts it read-only like
// ViewLayer.
func (s *Store) ViewContainer(ctx context.Context, id string) (*snapshots.TreeMount, error) {
	c, err := s.Container(ctx, id)
	if err != nil {
		return nil, err
	}
	tree, err := s.snaps.MountTree(ctx, c.Tree())
	return tree, failed("view", "container "+c.Name, err)
}

// WithTrees is [snapshots.Snapshotter.WithTrees].
func (s *Store) WithTrees(
	ctx context.Context,
	lower, upper snapshots.Tree,
	related bool,
	f func(snapshots.Trees) error,
) error {
	return s.snaps.WithTrees(ctx, lower, upper, related, f)
}

// LockVolume is [snapshots.Snapshotter.LockVolume].
func (s *Store) LockVolume(ctx context.Context, volume string) (*filelock.Lock, error) {
	return s.snaps.LockVolume(ctx, volume)
}

// WithLayerLock runs f while no process makes the layer of an id.
func (s *Store) WithLayerLock(ctx context.Context, id string, f func() error) error {
	lock, err := s.snaps.LockObject(ctx, layerVolume(id))
	if err != nil {
		return failed("wait for", "layer "+short(id), err)
	}
	return errors.Join(f(), lock.Release())
}

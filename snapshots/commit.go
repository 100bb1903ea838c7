package snapshots

import (
	"context"

	"thinctl/internal/names"
	"thinctl/thinpool"
)

// CommitOptions are the options of CommitContainer.
type CommitOptions struct {
	// With writes the caller's documents in the same transaction. Its error cancels the
	// commit.
	With func(*thinpool.Tx, Layer) error
}

// CommitContainer makes a layer of the present content of a container, mounted or not:
// a snapshot, taken while the file system is frozen. Nothing is copied.
func (s *Store) CommitContainer(ctx context.Context, id string, o CommitOptions) (Layer, error) {
	c, err := s.Container(ctx, id)
	if err != nil {
		return Layer{}, err
	}
	lock, err := s.lock(ctx, lockVolume, containerVolume(c.ID))
	if err != nil {
		return Layer{}, failed("commit", "container "+c.Name, err)
	}
	defer lock.Release()
	if err := s.recoverJournal(ctx, c); err != nil {
		return Layer{}, failed("commit", "container "+c.Name, err)
	}
	layer := Layer{ID: names.Random(idDigits), Created: s.now()}
	var refused error
	_, err = s.pool.Snapshot(ctx, containerVolume(c.ID), layerVolume(layer.ID), thinpool.SnapshotOptions{
		Keep: thinpool.Keep{For: forLayer, ReadOnly: true, With: func(tx *thinpool.Tx, v thinpool.VolumeRecord) error {
			var now Container
			if now, refused = byPrefix[Container](tx, kindContainers, "container", c.ID); refused != nil {
				return refused
			}
			layer.Parent, layer.Base, layer.FS = now.Layer, now.Init, now.FS
			layer.Volume, layer.FileSystem = v.Size, now.FileSystem
			if o.With != nil {
				if refused = o.With(tx, layer); refused != nil {
					return refused
				}
			}
			return tx.Put(kindLayers, layer.ID, layer)
		}},
	})
	if refused != nil {
		err = refused
	}
	if err != nil {
		return Layer{}, failed("commit", "container "+c.Name, err)
	}
	return layer, nil
}

// recoverJournal mounts a container once if it was not unmounted cleanly, because a
// layer is read without replaying its journal.
func (s *Store) recoverJournal(ctx context.Context, c Container) error {
	name := containerVolume(c.ID)
	_, points, err := s.mountsOf(ctx, name)
	if err != nil || len(points) > 0 {
		return err
	}
	volume, err := s.pool.ActivateVolume(ctx, name)
	if err != nil {
		return err
	}
	needed, err := s.files.NeedsRecovery(volume.Node)
	if err != nil {
		return err
	}
	if needed {
		return s.withMounted(ctx, c, func(string) error { return nil })
	}
	return s.deactivateUnused(ctx, name)
}

package layers

import (
	"context"

	"thinctl/internal/names"
	"thinctl/snapshots"
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
	lock, err := s.snaps.LockVolume(ctx, containerVolume(c.ID))
	if err != nil {
		return Layer{}, failed("commit", "container "+c.Name, err)
	}
	defer lock.Release()
	layer, err := s.commit(ctx, c, o)
	return layer, failed("commit", "container "+c.Name, err)
}

func (s *Store) commit(ctx context.Context, c Container, o CommitOptions) (Layer, error) {
	if err := s.recoverJournal(ctx, c); err != nil {
		return Layer{}, err
	}
	layer := Layer{ID: names.Random(idDigits), Created: s.now()}
	volume := layerVolume(layer.ID)
	err := s.snaps.CommitCopy(ctx, containerVolume(c.ID), snapshots.NewSnapshot{
		Key: volume, Volume: volume, For: snapshots.ForLayer,
		With: func(tx *thinpool.Tx, r snapshots.Record) error {
			layer.describe(r)
			if o.With != nil {
				if err := o.With(tx, layer); err != nil {
					return err
				}
			}
			return tx.Put(kindLayers, layer.ID, layer)
		},
	})
	if err != nil {
		return Layer{}, err
	}
	return layer, nil
}

// recoverJournal mounts a container once if it was not unmounted cleanly, because a
// layer is read without replaying its journal.
func (s *Store) recoverJournal(ctx context.Context, c Container) error {
	name := containerVolume(c.ID)
	_, points, err := s.snaps.MountsOf(ctx, name)
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
	return s.snaps.DeactivateUnused(ctx, name)
}

package layers

import (
	"context"
	"errors"

	"thinctl/fault"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// RemoveOptions are the options of RemoveContainer.
type RemoveOptions struct {
	// Deferred also removes a container that is mounted. Its blocks are given back
	// after it is unmounted.
	Deferred bool
	// With writes the caller's documents in the same transaction. Its error cancels the
	// removal.
	With func(*thinpool.Tx, Container) error
}

// Removed is what a removal removed.
type Removed struct {
	Container string   // its id
	Layers    []string // child first
	Inits     []string // keys
	// Waiting reports that a device is still open. Its blocks are given back after it
	// is closed and the pool is reaped.
	Waiting bool
	// Discarded is how much was discarded on the data device too.
	Discarded units.Bytes
}

func (r *Removed) count(removals []thinpool.Removal) {
	for _, removal := range removals {
		r.Waiting = r.Waiting || !removal.Reaped
		r.Discarded += removal.Discarded
	}
}

// RemoveContainer unmounts a container from its directory below the pool's mounts, and
// removes it. The container is removed when the one transaction is written. If an error
// comes with Removed.Container, its blocks are not given back.
func (s *Store) RemoveContainer(ctx context.Context, id string, o RemoveOptions) (Removed, error) {
	c, err := s.Container(ctx, id)
	if err != nil {
		return Removed{}, err
	}
	lock, err := s.snaps.LockVolume(ctx, containerVolume(c.ID))
	if err != nil {
		return Removed{}, failed("remove", "container "+c.Name, err)
	}
	defer lock.Release()
	removed, err := s.removeContainer(ctx, c, o)
	return removed, failed("remove", "container "+c.Name, err)
}

func (s *Store) removeContainer(ctx context.Context, c Container, o RemoveOptions) (Removed, error) {
	name := containerVolume(c.ID)
	if err := s.unmountOwn(ctx, c, o.Deferred); err != nil {
		return Removed{}, err
	}
	removals, err := s.snaps.RemoveAll(ctx, []string{name}, snapshots.RemoveOptions{
		Deferred: o.Deferred,
		With: func(tx *thinpool.Tx) error {
			if o.With != nil {
				if err := o.With(tx, c); err != nil {
					return err
				}
			}
			return errors.Join(tx.Delete(kindContainers, c.ID), tx.Delete(kindNames, c.Name))
		},
	})
	switch {
	case len(removals) == 0 && errors.Is(err, thinpool.ErrOpen):
		return Removed{}, heldOpen("remove", "container "+c.Name, ErrMounted, err)
	case len(removals) == 0:
		return Removed{}, err
	}
	removed := Removed{Container: c.ID}
	removed.count(removals)
	return removed, err
}

// unmountOwn unmounts a container from the directory that thinctl mounts it at.
func (s *Store) unmountOwn(ctx context.Context, c Container, lazy bool) error {
	volume, points, err := s.snaps.MountsOf(ctx, containerVolume(c.ID))
	if err != nil {
		return err
	}
	own := s.containerTarget(c.ID)
	for _, point := range points {
		if point.Path != own {
			continue
		}
		err := s.files.Unmount(ctx, own, filesystem.UnmountOptions{})
		if errors.Is(err, fault.Busy) && lazy {
			err = s.files.Unmount(ctx, own, filesystem.UnmountOptions{Lazy: true})
		}
		if errors.Is(err, fault.Busy) {
			return s.heldBy(ctx, "remove", c, volume.Dev, err)
		}
		if err != nil {
			return err
		}
	}
	return snapshots.RemoveDir(own)
}

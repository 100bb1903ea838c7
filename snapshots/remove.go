package snapshots

import (
	"context"
	"errors"

	"thinctl/fault"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// RemoveOptions change what the removal of a container puts up with.
type RemoveOptions struct {
	// Deferred removes a container that somebody has mounted too: its blocks come
	// back when they have left.
	Deferred bool
	// With writes the caller's documents in the same transaction, or refuses.
	With func(*thinpool.Tx, Container) error
}

// Removed says what has gone.
type Removed struct {
	Container string   // its id
	Layers    []string // child first
	Inits     []string // keys
	// Waiting: blocks come back when those who still use a volume have left and
	// the pool is reaped.
	Waiting bool
	// Discarded is how far blocks were given back to the data device too.
	Discarded units.Bytes
}

func (r *Removed) count(removals []thinpool.Removal) {
	for _, removal := range removals {
		r.Waiting = r.Waiting || !removal.Reaped
		r.Discarded += removal.Discarded
	}
}

// RemoveContainer unmounts a container from its folder below the pool's mounts,
// and removes it. It is gone when the one transaction is written; an error that
// comes along with Removed.Container says why its blocks are not back yet.
func (s *Store) RemoveContainer(ctx context.Context, id string, o RemoveOptions) (Removed, error) {
	c, err := s.Container(ctx, id)
	if err != nil {
		return Removed{}, err
	}
	lock, err := s.lock(ctx, lockVolume, containerVolume(c.ID))
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
	var refused error
	removals, err := s.pool.RemoveVolumes(ctx, []string{name}, thinpool.RemoveOptions{Deferred: o.Deferred, For: forContainer}, func(tx *thinpool.Tx) error {
		if o.With != nil {
			if refused = o.With(tx, c); refused != nil {
				return refused
			}
		}
		return errors.Join(tx.Delete(kindContainers, c.ID), tx.Delete(kindNames, c.Name))
	})
	switch {
	case refused != nil:
		return Removed{}, refused
	case len(removals) == 0 && errors.Is(err, thinpool.ErrOpen):
		return Removed{}, heldOpen("remove", "container "+c.Name, ErrMounted, err)
	case len(removals) == 0:
		return Removed{}, err
	}
	removed := Removed{Container: c.ID}
	removed.count(removals)
	return removed, err
}

// unmountOwn unmounts a container from where thinctl mounts it by itself.
func (s *Store) unmountOwn(ctx context.Context, c Container, lazy bool) error {
	volume, points, err := s.mountsOf(ctx, containerVolume(c.ID))
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
	return removeFolder(own)
}

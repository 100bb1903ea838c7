package containerd

import (
	"context"
	"errors"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/thinpool"
)

// Remove removes a snapshot that is no other's parent. It is gone, and its key may
// be used again, when Remove returns; its blocks come back in the background, of
// one that a stranger still has mounted when he has left.
func (s *Snapshotter) Remove(ctx context.Context, key string) error {
	if err := checkName("remove", "key", key); err != nil {
		return err
	}
	return failed("remove", key, s.remove(ctx, "remove", key, ""))
}

// remove removes the snapshot of that id, or of any where it is "".
func (s *Snapshotter) remove(ctx context.Context, op, key, id string) error {
	for {
		r, err := s.get(ctx, op, key)
		if err != nil {
			return err
		}
		if id != "" && r.ID != id {
			return refused(op, key, fault.NotFound, "")
		}
		if r.borrows() {
			return s.unborrow(ctx, op, key, r)
		}
		var told error
		err = s.bury(ctx, r.Volume, func(tx *thinpool.Tx) error {
			told = s.unwrite(tx, op, key, r)
			return told
		})
		switch {
		case told != nil:
			return told
		case err == nil:
			s.forgetTarget(r.Volume)
			return nil
		case !gone(err):
			return err
		}
		// Its volume is not there: it was removed or committed meanwhile, or somebody
		// has meddled with the pool.
		if again, err := s.lost(ctx, op, key, r); err != nil || !again {
			return err
		}
	}
}

// unborrow takes a view away that shows its parent's volume. Whose last view it was
// needs no device any more.
func (s *Snapshotter) unborrow(ctx context.Context, op, key string, r record) error {
	var parent record
	err := s.pool.Update(ctx, func(tx *thinpool.Tx) (err error) {
		if err := s.unwrite(tx, op, key, r); err != nil {
			return err
		}
		if parent, err = s.find(tx, op, r.Parent); err != nil {
			return err
		}
		parent.Views = max(parent.Views-1, 0)
		return s.put(tx, r.Parent, parent)
	})
	if err == nil && parent.Views == 0 {
		s.reaper.do(func() { s.putAway(s.reaper.ctx, r.Parent, parent) }, func() {})
	}
	return err
}

// putAway takes away the device of a committed snapshot that nothing shows. A
// stranger who has it mounted keeps it: the next Recover tries again.
func (s *Snapshotter) putAway(ctx context.Context, name string, r record) {
	unlock, err := s.lock(ctx, r.Volume)
	if err == nil {
		defer unlock()
		var now record
		if now, err = s.get(ctx, "put away", name); err == nil && now.ID == r.ID && now.Views == 0 {
			err = s.pool.DeactivateVolume(ctx, r.Volume)
		}
	}
	if err != nil && !gone(err) && !missing(err) && !errors.Is(err, thinpool.ErrBusy) && ctx.Err() == nil {
		s.options.Log.Warn("the device of a snapshot that nothing shows is still there", "pool", s.pool.Name(), "snapshot", name, "error", err)
	}
}

// unwrite takes a snapshot's document away.
func (s *Snapshotter) unwrite(tx *thinpool.Tx, op, key string, was record) error {
	r, err := s.find(tx, op, key)
	if err != nil {
		return err
	}
	if r.ID != was.ID || r.Volume != was.Volume {
		return refused(op, key, fault.NotFound, "it was removed or committed meanwhile")
	}
	child, err := s.child(tx, r)
	if err != nil {
		return err
	}
	if child != "" {
		return refused(op, key, fault.Refused, "cannot remove it, since "+quoted(child)+" stands on it")
	}
	return s.drop(tx, key, r)
}

// lost drops the document of a snapshot that has no volume. again: there is
// another by now.
func (s *Snapshotter) lost(ctx context.Context, op, key string, was record) (again bool, err error) {
	err = s.pool.Update(ctx, func(tx *thinpool.Tx) error {
		r, err := s.find(tx, op, key)
		if err != nil {
			return err
		}
		if again = r.ID != was.ID || r.Volume != was.Volume; again {
			return nil
		}
		return s.unwrite(tx, op, key, r)
	})
	return again, err
}

// bury removes a volume and what with takes away, and leaves its blocks to the
// reaper.
func (s *Snapshotter) bury(ctx context.Context, volume string, with func(*thinpool.Tx) error) error {
	removals, err := s.pool.RemoveVolumes(ctx, []string{volume}, thinpool.RemoveOptions{Deferred: true, Later: true, For: keptFor}, with)
	for _, removal := range removals {
		s.reap(removal.Volume.ID)
	}
	return err
}

// Cleanup gives back the blocks of all removed snapshots that nobody uses any
// more. The pool's other removed volumes go along.
func (s *Snapshotter) Cleanup(ctx context.Context) error {
	if err := s.reaper.wait(ctx); err != nil {
		return err
	}
	_, _, err := s.pool.Reap(ctx)
	return err
}

// Recover finishes what killed processes have left: volumes that a commit has
// replaced, mounts, half-made devices and templates, devices that nothing shows,
// removed volumes whose blocks are not back. The pool must be active.
func (s *Snapshotter) Recover(ctx context.Context) error {
	if err := s.layers.Recover(ctx); err != nil {
		return err
	}
	err := errors.Join(s.clearFolders(ctx), s.clearVolumes(ctx), s.putAllAway(ctx), s.finishDevices(ctx))
	if err == nil {
		return nil
	}
	return wrapped("recover", "containerd namespace "+quoted(s.options.Namespace), err)
}

// clearVolumes removes the volumes that no document of any namespace has. None
// gets one any more: volume and document are made in one transaction.
func (s *Snapshotter) clearVolumes(ctx context.Context) error {
	left, err := s.strays(ctx)
	var faults []error
	for _, volume := range left {
		if err := s.bury(ctx, volume, nil); !gone(err) {
			faults = append(faults, err)
		}
	}
	return errors.Join(err, errors.Join(faults...))
}

func (s *Snapshotter) strays(ctx context.Context) (left []string, err error) {
	err = s.pool.View(ctx, func(tx *thinpool.Tx) error {
		known := map[string]bool{}
		for entry, err := range thinpool.Documents[record](tx, kindSnapshots, "") {
			if err != nil {
				return err
			}
			known[entry.Record.Volume] = true
		}
		for volume, err := range tx.Volumes() {
			if err != nil {
				return err
			}
			if volume.For == keptFor && !known[volume.Name] {
				left = append(left, volume.Name)
			}
		}
		return nil
	})
	return left, err
}

// putAllAway takes away the devices of this namespace's committed snapshots that
// nothing shows.
func (s *Snapshotter) putAllAway(ctx context.Context) error {
	idle := map[string]record{}
	err := s.pool.View(ctx, func(tx *thinpool.Tx) error {
		for entry, err := range thinpool.Documents[record](tx, kindSnapshots, s.key("")) {
			if err != nil {
				return err
			}
			if entry.Record.Kind == core.KindCommitted && entry.Record.Views == 0 {
				_, name := splitNamespace(entry.Key)
				idle[name] = entry.Record
			}
		}
		return nil
	})
	if err != nil || len(idle) == 0 {
		return err
	}
	volumes, err := s.pool.Volumes(ctx)
	if err != nil {
		return err
	}
	active := map[string]bool{}
	for _, volume := range volumes {
		active[volume.Name] = volume.Active
	}
	for name, r := range idle {
		if active[r.Volume] {
			s.putAway(ctx, name, r)
		}
	}
	return nil
}

// finishDevices completes the devices whose activation was cut off. Others stay
// as they are: containerd may be about to mount them.
func (s *Snapshotter) finishDevices(ctx context.Context) error {
	volumes, err := s.pool.Volumes(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, volume := range volumes {
		if !volume.Active || volume.For != keptFor {
			continue
		}
		status, err := s.pool.VolumeStatus(ctx, volume.Name)
		if err == nil && status.Active && (status.Failed || status.Suspended) {
			_, err = s.pool.ActivateVolume(ctx, volume.Name)
		}
		if !gone(err) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

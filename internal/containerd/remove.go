package containerd

import (
	"context"
	"errors"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/thinpool"
)

// Remove removes a snapshot that is not the parent of another. When it returns, the
// snapshot does not exist and its key is free. Its blocks are given back in the
// background; if a process has the device open, after it is closed.
func (s *Snapshotter) Remove(ctx context.Context, key string) error {
	if err := checkName("remove", "key", key); err != nil {
		return err
	}
	return failed("remove", key, s.remove(ctx, "remove", key, ""))
}

// remove removes the snapshot of an id, or any snapshot of the key if id is "".
func (s *Snapshotter) remove(ctx context.Context, op, key, id string) error {
	for {
		r, err := s.get(ctx, op, key)
		if err != nil {
			return err
		}
		if id != "" && r.ID != id {
			return refused(op, key, fault.NotFound, "")
		}
		if r.shares() {
			return s.removeView(ctx, op, key, r)
		}
		var refusal error
		err = s.removeVolume(ctx, r.Volume, func(tx *thinpool.Tx) error {
			refusal = s.delete(tx, op, key, r)
			return refusal
		})
		switch {
		case refusal != nil:
			return refusal
		case err == nil:
			s.forgetTarget(r.Volume)
			return nil
		case !gone(err):
			return err
		}
		// The volume does not exist: the snapshot was removed or committed in the
		// meantime, or another program has changed the pool.
		if again, err := s.lost(ctx, op, key, r); err != nil || !again {
			return err
		}
	}
}

// removeView removes a view that shows its parent's volume. After the last view, the
// device is deactivated.
func (s *Snapshotter) removeView(ctx context.Context, op, key string, r record) error {
	var parent record
	err := s.pool.Update(ctx, func(tx *thinpool.Tx) (err error) {
		if err := s.delete(tx, op, key, r); err != nil {
			return err
		}
		if parent, err = s.find(tx, op, r.Parent); err != nil {
			return err
		}
		parent.Views = max(parent.Views-1, 0)
		return s.put(tx, r.Parent, parent)
	})
	if err == nil && parent.Views == 0 {
		s.reaper.do(func() { s.deactivate(s.reaper.ctx, r.Parent, parent) }, func() {})
	}
	return err
}

// deactivate deactivates a committed snapshot without views. If a process has the
// device open, the next Recover tries again.
func (s *Snapshotter) deactivate(ctx context.Context, name string, r record) {
	lock, err := s.layers.LockVolume(ctx, r.Volume)
	if err == nil {
		defer lock.Release()
		var now record
		if now, err = s.get(ctx, "deactivate", name); err == nil && now.ID == r.ID && now.Views == 0 {
			err = s.pool.DeactivateVolume(ctx, r.Volume)
		}
	}
	if err != nil && !gone(err) && !missing(err) && !errors.Is(err, thinpool.ErrOpen) && ctx.Err() == nil {
		s.options.Log.Warn("could not deactivate a snapshot without views",
			"pool", s.pool.Name(), "snapshot", name, "error", err)
	}
}

// delete removes a snapshot's document.
func (s *Snapshotter) delete(tx *thinpool.Tx, op, key string, was record) error {
	r, err := s.find(tx, op, key)
	if err != nil {
		return err
	}
	if r.ID != was.ID || r.Volume != was.Volume {
		return refused(op, key, fault.NotFound, "it was removed or committed in the meantime")
	}
	child, err := s.child(tx, r)
	if err != nil {
		return err
	}
	if child != "" {
		return refused(op, key, fault.Refused, "cannot remove it, since "+quoted(child)+" is made on it")
	}
	return s.drop(tx, key, r)
}

// lost removes the document of a snapshot that has no volume. again is true if the key
// has another snapshot in the meantime.
func (s *Snapshotter) lost(ctx context.Context, op, key string, was record) (again bool, err error) {
	err = s.pool.Update(ctx, func(tx *thinpool.Tx) error {
		r, err := s.find(tx, op, key)
		if err != nil {
			return err
		}
		if again = r.ID != was.ID || r.Volume != was.Volume; again {
			return nil
		}
		return s.delete(tx, op, key, r)
	})
	return again, err
}

// removeVolume removes a volume, with the documents that with removes, and leaves its
// blocks to the reaper.
func (s *Snapshotter) removeVolume(ctx context.Context, volume string, with func(*thinpool.Tx) error) error {
	removals, err := s.pool.RemoveVolumes(
		ctx,
		[]string{volume},
		thinpool.RemoveOptions{Deferred: true, Later: true, For: keptFor},
		with,
	)
	for _, removal := range removals {
		s.reap(removal.Volume.ID)
	}
	return err
}

// Cleanup gives back the blocks of all removed snapshots that no process has open. It
// includes the other removed volumes of the pool.
func (s *Snapshotter) Cleanup(ctx context.Context) error {
	if err := s.reaper.wait(ctx); err != nil {
		return err
	}
	_, _, err := s.pool.Reap(ctx)
	return err
}

// Recover completes what killed processes left: volumes that a commit has replaced,
// mounts, incomplete devices and templates, devices without views, and removed volumes
// whose blocks are not given back. The pool must be active.
func (s *Snapshotter) Recover(ctx context.Context) error {
	if err := s.layers.Recover(ctx); err != nil {
		return err
	}
	err := errors.Join(s.clearMounts(ctx), s.clearVolumes(ctx), s.deactivateIdle(ctx), s.completeDevices(ctx))
	if err == nil {
		return nil
	}
	return wrapped("recover", "containerd namespace "+quoted(s.options.Namespace), err)
}

// clearVolumes removes the volumes that no document of any namespace has. None of them
// can get one: volume and document are created in one transaction.
func (s *Snapshotter) clearVolumes(ctx context.Context) error {
	left, err := s.strays(ctx)
	var faults []error
	for _, volume := range left {
		if err := s.removeVolume(ctx, volume, nil); !gone(err) {
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

// deactivateIdle deactivates this namespace's committed snapshots that have no views.
func (s *Snapshotter) deactivateIdle(ctx context.Context) error {
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
			s.deactivate(ctx, name, r)
		}
	}
	return nil
}

// completeDevices completes the devices whose activation was interrupted. It leaves
// other devices as they are: containerd may be about to mount them.
func (s *Snapshotter) completeDevices(ctx context.Context) error {
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

package snapshots

import (
	"cmp"
	"context"
	"errors"

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
		err = s.removeVolume(ctx, r, func(tx *thinpool.Tx) error {
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
func (s *Snapshotter) removeView(ctx context.Context, op, key string, r Record) error {
	var parent Record
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
func (s *Snapshotter) deactivate(ctx context.Context, name string, r Record) {
	lock, err := s.LockVolume(ctx, r.Volume)
	if err == nil {
		defer lock.Release()
		var now Record
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
func (s *Snapshotter) delete(tx *thinpool.Tx, op, key string, was Record) error {
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
func (s *Snapshotter) lost(ctx context.Context, op, key string, was Record) (again bool, err error) {
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

// removeVolume removes the volume of a snapshot, with the documents that with removes,
// and leaves its blocks to the reaper.
func (s *Snapshotter) removeVolume(ctx context.Context, r Record, with func(*thinpool.Tx) error) error {
	removals, err := s.pool.RemoveVolumes(
		ctx,
		[]string{r.Volume},
		thinpool.RemoveOptions{Deferred: true, Later: true, For: r.For},
		with,
	)
	for _, removal := range removals {
		s.reap(removal.Volume.ID)
	}
	return err
}

// RemoveOptions are the options of RemoveAll.
type RemoveOptions struct {
	// Deferred also removes a snapshot whose device is open. Its blocks are given back
	// after it is closed and the pool is reaped.
	Deferred bool
	// With writes the caller's documents in the same transaction. Its error cancels the
	// removal, and is returned as it is.
	With func(*thinpool.Tx) error
}

// RemoveAll removes snapshots in one transaction, all or none of them, and gives back
// their blocks. Their volumes have the same purpose, and each comes before its parent.
// Without keys, only the documents of With are written.
// If it returns removals with an error, the snapshots are removed and blocks are not
// given back. Errors of the pool are returned as they are.
func (s *Snapshotter) RemoveAll(ctx context.Context, keys []string, o RemoveOptions) ([]thinpool.Removal, error) {
	const op = "remove"
	if len(keys) == 0 {
		return nil, s.pool.Update(ctx, func(tx *thinpool.Tx) error { return s.deleteAll(tx, nil, nil, o) })
	}
	records, volumes := make([]Record, len(keys)), make([]string, len(keys))
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		for i, key := range keys {
			if records[i], err = s.find(tx, op, key); err != nil {
				return err
			}
			volumes[i] = records[i].Volume
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var refusal error
	removals, err := s.pool.RemoveVolumes(
		ctx,
		volumes,
		thinpool.RemoveOptions{Deferred: o.Deferred, For: records[0].For},
		func(tx *thinpool.Tx) error {
			refusal = s.deleteAll(tx, keys, records, o)
			return refusal
		},
	)
	return removals, cmp.Or(refusal, err)
}

func (s *Snapshotter) deleteAll(tx *thinpool.Tx, keys []string, records []Record, o RemoveOptions) error {
	if o.With != nil {
		if err := o.With(tx); err != nil {
			return err
		}
	}
	for i, key := range keys {
		if err := s.delete(tx, "remove", key, records[i]); err != nil {
			return err
		}
	}
	return nil
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

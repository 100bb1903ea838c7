package snapshots

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/internal/filelock"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// work is a living [Work].
type work struct {
	s    *Store
	id   string
	lock *filelock.Lock
	// made: there may be a working volume.
	made bool
}

// beginWork registers a work that holds layers. look, which may be nil, sees the
// same moment. What dead works have left is cleared.
func (s *Store) beginWork(ctx context.Context, layers []string, look func(*thinpool.Tx) error) (*work, error) {
	w := &work{s: s, id: newID(16)}
	var err error
	if w.lock, err = s.lock(ctx, lockWork, w.id); err != nil {
		return nil, err
	}
	var others []Work
	err = s.pool.Update(ctx, func(tx *thinpool.Tx) error {
		var err error
		if others, err = documents[Work](tx, kindWork); err != nil {
			return err
		}
		if look != nil {
			if err := look(tx); err != nil {
				return err
			}
		}
		return tx.Put(kindWork, w.id, Work{ID: w.id, Layers: layers, Created: s.now()})
	})
	if err != nil {
		return nil, errors.Join(err, w.end(ctx))
	}
	if err := s.clearDead(ctx, others); err != nil {
		return nil, errors.Join(err, w.end(ctx))
	}
	return w, nil
}

func (w *work) volume() string { return workVolume(w.id) }

const workPrefix = ".work-"

func (s *Store) workTarget(id string) string { return filepath.Join(s.mountsDir(), workPrefix+id) }

// copy makes the working volume, a copy of origin of that size.
func (w *work) copy(ctx context.Context, origin string, size units.Bytes) error {
	w.made = true
	_, err := w.s.pool.Snapshot(ctx, origin, w.volume(), thinpool.SnapshotOptions{Size: size, Keep: thinpool.Keep{For: forWork}})
	return err
}

// mount mounts the working volume to be filled. Its journal need not survive a
// crash, since a dead work's volume is thrown away: what counts is what a
// snapshot or a rename makes durable. So ext4 need not wait for the disk.
// grow brings the file system to the volume's size.
func (w *work) mount(ctx context.Context, fs filesystem.Type, grow bool) (target string, err error) {
	volume, err := w.s.pool.ActivateVolume(ctx, w.volume())
	if err != nil {
		return "", err
	}
	o := filesystem.MountOptions{Type: fs, MakeTarget: true, Options: []string{"noatime", "nosuid", "nodev", "noexec"}}
	if fs == filesystem.Ext4 {
		o.Options = append(o.Options, "barrier=0")
	}
	target = w.s.workTarget(w.id)
	if err := w.s.files.Mount(ctx, volume.Node, target, o); err != nil || !grow {
		return target, err
	}
	return target, w.s.files.Grow(ctx, volume.Node, target)
}

// unmountWork takes a work's mount away; the volume's device stays. A process that has
// entered it, or a mount namespace that was made meanwhile, may keep the file
// system: that must not fail what is complete.
func (s *Store) unmountWork(ctx context.Context, id string) error {
	target := s.workTarget(id)
	err := s.files.Unmount(ctx, target, filesystem.UnmountOptions{})
	if errors.Is(err, fault.Busy) {
		err = s.files.Unmount(ctx, target, filesystem.UnmountOptions{Lazy: true})
	}
	if err != nil && !errors.Is(err, filesystem.ErrNotMounted) {
		return err
	}
	return removeFolder(target)
}

// removeFolder removes a mount's folder. With it the kernel takes away what other
// mount namespaces have mounted there, copies of ours among them (fs/namei.c,
// vfs_rmdir, detach_mounts): only open files keep the device from then on.
func removeFolder(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// keep turns the filled, synced working volume into what it was made for, and
// unmounts it. put writes the documents. The volume is renamed; where somebody
// else keeps its file system, a snapshot of it becomes what was wanted.
func (w *work) keep(ctx context.Context, name, what string, put func(*thinpool.Tx) error) error {
	if err := w.s.unmountWork(ctx, w.id); err != nil {
		return err
	}
	keep := thinpool.Keep{For: what, ReadOnly: true, With: func(tx *thinpool.Tx, _ thinpool.VolumeRecord) error { return put(tx) }}
	_, err := w.s.pool.RenameVolume(ctx, w.volume(), name, thinpool.RenameOptions{Was: forWork, Keep: keep})
	if errors.Is(err, thinpool.ErrOpen) {
		_, err = w.s.pool.Snapshot(ctx, w.volume(), name, thinpool.SnapshotOptions{Keep: keep})
		return err
	}
	if err == nil {
		w.made = false
	}
	return err
}

// drop throws the working volume away; the work goes on.
func (w *work) drop(ctx context.Context) error {
	if !w.made {
		return nil
	}
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	if err := w.s.unmountWork(ctx, w.id); err != nil {
		return err
	}
	_, err := w.s.pool.RemoveVolume(ctx, w.volume(), thinpool.RemoveOptions{Deferred: true, For: forWork})
	if err != nil && !errors.Is(err, thinpool.ErrNoVolume) {
		return err
	}
	w.made = false
	return nil
}

// end throws away what is left of the work. Its lock goes in any case: if the
// rest has failed, the next work clears it.
func (w *work) end(ctx context.Context) error {
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	if w.made {
		return errors.Join(w.s.clearWork(ctx, w.id), w.lock.Release())
	}
	return errors.Join(w.s.forgetWork(ctx, w.id), w.lock.Release())
}

// release ends a work whose document has gone in the caller's transaction.
func (w *work) release() error { return w.lock.Release() }

// clearWork removes all that belongs to a work, its document last.
func (s *Store) clearWork(ctx context.Context, id string) error {
	if err := s.unmountWork(ctx, id); err != nil {
		return err
	}
	removals, err := s.pool.RemoveVolumes(ctx, []string{workVolume(id)}, thinpool.RemoveOptions{Deferred: true, For: forWork},
		func(tx *thinpool.Tx) error { return tx.Delete(kindWork, id) })
	if len(removals) == 0 && errors.Is(err, thinpool.ErrNoVolume) {
		return s.forgetWork(ctx, id)
	}
	return err
}

// forgetWork drops the document of a work that has no volume.
func (s *Store) forgetWork(ctx context.Context, id string) error {
	return s.pool.Update(ctx, func(tx *thinpool.Tx) error { return tx.Delete(kindWork, id) })
}

// clearDead clears the works whose process has ended.
func (s *Store) clearDead(ctx context.Context, works []Work) error {
	var faults []error
	for _, dead := range works {
		lock, err := s.tryLock(lockWork, dead.ID)
		if errors.Is(err, filelock.ErrHeld) {
			continue
		}
		if err == nil {
			err = errors.Join(s.clearIfLeft(ctx, dead.ID), lock.Release())
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// clearIfLeft clears a dead work, unless somebody has done so meanwhile. Its
// lock is held.
func (s *Store) clearIfLeft(ctx context.Context, id string) error {
	var left bool
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		_, left, err = document[Work](tx, kindWork, id)
		return err
	})
	if err != nil || !left {
		return err
	}
	return s.clearWork(ctx, id)
}

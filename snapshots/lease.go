package snapshots

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/internal/filelock"
	"thinctl/internal/names"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// lease is a living [Lease].
type lease struct {
	s    *Store
	id   string
	lock *filelock.Lock
	// made reports that there may be a working volume.
	made bool
}

// beginLease registers a lease of layers. find, which may be nil, runs in the same
// transaction. What leases of killed processes left is removed.
func (s *Store) beginLease(ctx context.Context, layers []string, find func(*thinpool.Tx) error) (*lease, error) {
	w := &lease{s: s, id: names.Random(16)}
	var err error
	if w.lock, err = s.lock(ctx, lockLease, w.id); err != nil {
		return nil, err
	}
	var others []Lease
	err = s.pool.Update(ctx, func(tx *thinpool.Tx) error {
		var err error
		if others, err = documents[Lease](tx, kindLeases); err != nil {
			return err
		}
		if find != nil {
			if err := find(tx); err != nil {
				return err
			}
		}
		return tx.Put(kindLeases, w.id, Lease{ID: w.id, Layers: layers, Created: s.now()})
	})
	if err != nil {
		return nil, errors.Join(err, w.end(ctx))
	}
	if err := s.clearDead(ctx, others); err != nil {
		return nil, errors.Join(err, w.end(ctx))
	}
	return w, nil
}

func (w *lease) volume() string { return leaseVolume(w.id) }

const leasePrefix = ".work-"

func (s *Store) leaseTarget(id string) string { return filepath.Join(s.MountsDir(), leasePrefix+id) }

// copy creates the working volume, a snapshot of origin of a size.
func (w *lease) copy(ctx context.Context, origin string, size units.Bytes) error {
	w.made = true
	_, err := w.s.pool.Snapshot(
		ctx,
		origin,
		w.volume(),
		thinpool.SnapshotOptions{Size: size, Keep: thinpool.Keep{For: forLease}},
	)
	return err
}

// mount mounts the working volume to be filled. Its journal need not survive a crash,
// because the volume of a killed process is removed: only what a snapshot or a rename
// makes durable counts. So ext4 need not wait for the disk. With grow, the file system
// grows to the volume's size.
func (w *lease) mount(ctx context.Context, fs filesystem.Type, grow bool) (target string, err error) {
	volume, err := w.s.pool.ActivateVolume(ctx, w.volume())
	if err != nil {
		return "", err
	}
	o := filesystem.MountOptions{Type: fs, MakeTarget: true, Options: []string{"noatime", "nosuid", "nodev", "noexec"}}
	if fs == filesystem.Ext4 {
		o.Options = append(o.Options, "barrier=0")
	}
	target = w.s.leaseTarget(w.id)
	if err := w.s.files.Mount(ctx, volume.Node, target, o); err != nil || !grow {
		return target, err
	}
	return target, w.s.files.Grow(ctx, volume.Node, target)
}

// unmountLease unmounts a lease's volume; the device stays.
func (s *Store) unmountLease(ctx context.Context, id string) error {
	return RemoveMount(ctx, s.files, s.leaseTarget(id))
}

// RemoveMount unmounts a directory, if it is mounted, and removes it. If a process has
// entered the mount, or another mount namespace has a copy of it, it is unmounted lazily:
// that must not fail an operation that is complete.
func RemoveMount(ctx context.Context, files Files, target string) error {
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	err := files.Unmount(ctx, target, filesystem.UnmountOptions{})
	if errors.Is(err, fault.Busy) {
		err = files.Unmount(ctx, target, filesystem.UnmountOptions{Lazy: true})
	}
	if err != nil && !errors.Is(err, filesystem.ErrNotMounted) {
		return err
	}
	return removeDir(target)
}

// removeDir removes the directory of a mount. The kernel then detaches what other mount
// namespaces have mounted there (fs/namei.c, vfs_rmdir, detach_mounts): only open files
// keep the device.
func removeDir(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// keep makes the filled, synced working volume a volume of another name and purpose,
// and unmounts it. put writes the documents. The volume is renamed, or copied by a
// snapshot if another process keeps its file system.
func (w *lease) keep(ctx context.Context, name, what string, put func(*thinpool.Tx) error) error {
	if err := w.s.unmountLease(ctx, w.id); err != nil {
		return err
	}
	keep := thinpool.Keep{
		For:      what,
		ReadOnly: true,
		With:     func(tx *thinpool.Tx, _ thinpool.VolumeRecord) error { return put(tx) },
	}
	_, err := w.s.pool.RenameVolume(ctx, w.volume(), name, thinpool.RenameOptions{Was: forLease, Keep: keep})
	if errors.Is(err, thinpool.ErrOpen) {
		_, err = w.s.pool.Snapshot(ctx, w.volume(), name, thinpool.SnapshotOptions{Keep: keep})
		return err
	}
	if err == nil {
		w.made = false
	}
	return err
}

// drop removes the working volume; the lease continues.
func (w *lease) drop(ctx context.Context) error {
	if !w.made {
		return nil
	}
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	if err := w.s.unmountLease(ctx, w.id); err != nil {
		return err
	}
	_, err := w.s.pool.RemoveVolume(ctx, w.volume(), thinpool.RemoveOptions{Deferred: true, For: forLease})
	if err != nil && !errors.Is(err, thinpool.ErrNoVolume) {
		return err
	}
	w.made = false
	return nil
}

// end removes what is left of the lease. Its lock is released in any case: if the rest
// has failed, the next lease removes it.
func (w *lease) end(ctx context.Context) error {
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	if w.made {
		return errors.Join(w.s.clearLease(ctx, w.id), w.lock.Release())
	}
	return errors.Join(w.s.forgetLease(ctx, w.id), w.lock.Release())
}

// release ends a lease whose document was removed in the caller's transaction.
func (w *lease) release() error { return w.lock.Release() }

// clearLease removes everything that belongs to a lease, its document last.
func (s *Store) clearLease(ctx context.Context, id string) error {
	if err := s.unmountLease(ctx, id); err != nil {
		return err
	}
	removals, err := s.pool.RemoveVolumes(
		ctx,
		[]string{leaseVolume(id)},
		thinpool.RemoveOptions{Deferred: true, For: forLease},
		func(tx *thinpool.Tx) error { return tx.Delete(kindLeases, id) },
	)
	if len(removals) == 0 && errors.Is(err, thinpool.ErrNoVolume) {
		return s.forgetLease(ctx, id)
	}
	return err
}

// forgetLease removes the document of a lease that has no volume.
func (s *Store) forgetLease(ctx context.Context, id string) error {
	return s.pool.Update(ctx, func(tx *thinpool.Tx) error { return tx.Delete(kindLeases, id) })
}

// clearDead removes the leases whose process has ended.
func (s *Store) clearDead(ctx context.Context, leases []Lease) error {
	var faults []error
	for _, dead := range leases {
		lock, err := s.tryLock(lockLease, dead.ID)
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

// clearIfLeft removes a lease of a killed process, unless another process has done so.
// The caller holds its lock.
func (s *Store) clearIfLeft(ctx context.Context, id string) error {
	var left bool
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		_, left, err = document[Lease](tx, kindLeases, id)
		return err
	})
	if err != nil || !left {
		return err
	}
	return s.clearLease(ctx, id)
}

package snapshots

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/internal/filelock"
	"thinctl/internal/names"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// Lease keeps objects while work on them is in progress, and may have a working volume
// that is being filled. It is alive as long as its process: a lock shows that. What the
// lease of a killed process leaves is removed by the next lease or Recover.
type Lease struct {
	s    *Snapshotter
	id   string
	lock *filelock.Lock
	// made reports that there may be a working volume.
	made bool
}

// leaseRecord is the document of a lease.
type leaseRecord struct {
	ID      string    `json:"id"`
	Keys    []string  `json:"keys,omitempty"`
	Created time.Time `json:"created"`
}

// Lease registers a lease of objects that the caller identifies by keys. find, which may
// be nil, runs in the same transaction, before the keys are read.
func (s *Snapshotter) Lease(ctx context.Context, keys []string, find func(*thinpool.Tx) error) (*Lease, error) {
	l := &Lease{s: s, id: names.Random(16)}
	var err error
	if l.lock, err = s.lock(ctx, lockLease, l.id); err != nil {
		return nil, err
	}
	var others []leaseRecord
	err = s.pool.Update(ctx, func(tx *thinpool.Tx) error {
		var err error
		if others, err = leasesIn(tx); err != nil {
			return err
		}
		if find != nil {
			if err := find(tx); err != nil {
				return err
			}
		}
		return tx.Put(kindLeases, l.id, leaseRecord{ID: l.id, Keys: keys, Created: s.now()})
	})
	if err != nil {
		return nil, errors.Join(err, l.End(ctx))
	}
	if err := s.clearDead(ctx, others); err != nil {
		return nil, errors.Join(err, l.End(ctx))
	}
	return l, nil
}

func leasesIn(tx *thinpool.Tx) ([]leaseRecord, error) {
	var all []leaseRecord
	for entry, err := range thinpool.Documents[leaseRecord](tx, kindLeases, "") {
		if err != nil {
			return nil, err
		}
		all = append(all, entry.Record)
	}
	return all, nil
}

// LeasedIn returns the keys of all leases, also of those whose process has ended.
func LeasedIn(tx *thinpool.Tx) ([]string, error) {
	leases, err := leasesIn(tx)
	var keys []string
	for _, l := range leases {
		keys = append(keys, l.Keys...)
	}
	return keys, err
}

// Volume returns the name of the working volume.
func (l *Lease) Volume() string { return leaseVolume(l.id) }

func leaseVolume(id string) string { return forLease + "-" + id }

const leasePrefix = ".work-"

func (s *Snapshotter) leaseTarget(id string) string {
	return filepath.Join(s.MountsDir(), leasePrefix+id)
}

// Copy creates the working volume, a snapshot of origin of a size; zero means that of
// origin.
func (l *Lease) Copy(ctx context.Context, origin string, size units.Bytes) error {
	l.made = true
	_, err := l.s.pool.Snapshot(
		ctx,
		origin,
		l.Volume(),
		thinpool.SnapshotOptions{Size: size, Keep: thinpool.Keep{For: forLease}},
	)
	return err
}

// Mount mounts the working volume to be filled. Its journal need not survive a crash,
// because the volume of a killed process is removed: only what a snapshot or a rename
// makes durable counts. So ext4 need not wait for the disk. With grow, the file system
// grows to the volume's size.
func (l *Lease) Mount(ctx context.Context, fs filesystem.Type, grow bool) (target string, err error) {
	volume, err := l.s.pool.ActivateVolume(ctx, l.Volume())
	if err != nil {
		return "", err
	}
	o := filesystem.MountOptions{Type: fs, MakeTarget: true, Options: []string{"noatime", "nosuid", "nodev", "noexec"}}
	if fs == filesystem.Ext4 {
		o.Options = append(o.Options, "barrier=0")
	}
	target = l.s.leaseTarget(l.id)
	if err := l.s.files.Mount(ctx, volume.Node, target, o); err != nil || !grow {
		return target, err
	}
	return target, l.s.files.Grow(ctx, volume.Node, target)
}

// show mounts a device read-only at the mount point of the lease.
func (l *Lease) show(ctx context.Context, node string, o filesystem.MountOptions) (target string, err error) {
	o.ReadOnly, o.MakeTarget = true, true
	o.Options = append(o.Options, "noatime", "nosuid", "nodev", "noexec")
	target = l.s.leaseTarget(l.id)
	return target, l.s.files.Mount(ctx, node, target, o)
}

// NewSnapshot describes a committed snapshot that is made of a lease's working volume,
// or a copy of an active snapshot.
type NewSnapshot struct {
	Key    string
	Volume string
	For    string // the purpose of the volume
	// Parent is the key of its parent, "" for none. FS and FileSystem are as in
	// [Record]. A copy has all three from the active snapshot.
	Parent     string
	FS         filesystem.Type
	FileSystem units.Bytes
	// With writes the caller's documents in the same transaction. Its error cancels the
	// commit.
	With func(*thinpool.Tx, Record) error
}

// insertIn writes the document of the snapshot.
func (n NewSnapshot) insertIn(tx *thinpool.Tx, s *Snapshotter, volume thinpool.VolumeRecord) error {
	const op = "commit"
	if err := checkName(op, "name", n.Key); err != nil {
		return err
	}
	if err := s.free(tx, op, n.Key); err != nil {
		return err
	}
	r := Record{ID: names.Random(16), Kind: core.KindCommitted, Volume: n.Volume, For: n.For, Parent: n.Parent,
		Created: s.now(), FS: n.FS, Size: volume.Size, FileSystem: n.FileSystem}
	r.Updated = r.Created
	if n.Parent != "" {
		parent, err := s.parent(tx, op, n.Key, n.Parent)
		if err != nil {
			return err
		}
		r.ParentID = parent.ID
	}
	if n.With != nil {
		if err := n.With(tx, r); err != nil {
			return err
		}
	}
	return s.put(tx, n.Key, r)
}

// Commit makes a committed snapshot of the filled, synced content of the working volume.
// The volume stays mounted, to be filled further; its file system is frozen for a moment.
func (l *Lease) Commit(ctx context.Context, n NewSnapshot) error {
	var refusal error
	keep := thinpool.Keep{For: n.For, ReadOnly: true, With: n.with(l.s, &refusal)}
	_, err := l.s.pool.Snapshot(ctx, l.Volume(), n.Volume, thinpool.SnapshotOptions{Keep: keep})
	return cmp.Or(refusal, err)
}

// CommitLast is Commit for a working volume that is not filled further: it is unmounted
// and becomes the volume of the snapshot.
func (l *Lease) CommitLast(ctx context.Context, n NewSnapshot) error {
	var refusal error
	err := l.become(ctx, n.Volume, n.For, n.with(l.s, &refusal))
	return cmp.Or(refusal, err)
}

// with returns insertIn for a change of the pool. The pool wraps the errors of with; the
// error of insertIn itself is in refusal.
func (n NewSnapshot) with(s *Snapshotter, refusal *error) func(*thinpool.Tx, thinpool.VolumeRecord) error {
	return func(tx *thinpool.Tx, volume thinpool.VolumeRecord) error {
		*refusal = n.insertIn(tx, s, volume)
		return *refusal
	}
}

// become makes the filled, synced working volume a volume of another name and purpose.
// The volume is unmounted and renamed, or copied by a snapshot if another process keeps
// its file system.
func (l *Lease) become(
	ctx context.Context,
	name, purpose string,
	with func(*thinpool.Tx, thinpool.VolumeRecord) error,
) error {
	if err := l.unmount(ctx); err != nil {
		return err
	}
	keep := thinpool.Keep{For: purpose, ReadOnly: true, With: with}
	_, err := l.s.pool.RenameVolume(ctx, l.Volume(), name, thinpool.RenameOptions{Was: forLease, Keep: keep})
	if errors.Is(err, thinpool.ErrOpen) {
		_, err = l.s.pool.Snapshot(ctx, l.Volume(), name, thinpool.SnapshotOptions{Keep: keep})
		return err
	}
	if err == nil {
		l.made = false
	}
	return err
}

func (l *Lease) unmount(ctx context.Context) error { return l.s.unmountLease(ctx, l.id) }

// unmountLease unmounts a lease's volume; the device stays.
func (s *Snapshotter) unmountLease(ctx context.Context, id string) error {
	return removeMount(ctx, s.files, s.leaseTarget(id))
}

// removeMount unmounts a directory, if it is mounted, and removes it. If a process has
// entered the mount, or another mount namespace has a copy of it, it is unmounted lazily:
// that must not fail an operation that is complete.
func removeMount(ctx context.Context, files Files, target string) error {
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	err := files.Unmount(ctx, target, filesystem.UnmountOptions{})
	if errors.Is(err, fault.Busy) {
		err = files.Unmount(ctx, target, filesystem.UnmountOptions{Lazy: true})
	}
	if err != nil && !errors.Is(err, filesystem.ErrNotMounted) {
		return err
	}
	return RemoveDir(target)
}

// RemoveDir removes the directory of a mount, if it exists. The kernel then detaches
// what other mount namespaces have mounted there (fs/namei.c, vfs_rmdir,
// detach_mounts): only open files keep the device.
func RemoveDir(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Drop removes the working volume; the lease continues.
func (l *Lease) Drop(ctx context.Context) error {
	if !l.made {
		return nil
	}
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	if err := l.unmount(ctx); err != nil {
		return err
	}
	_, err := l.s.pool.RemoveVolume(ctx, l.Volume(), thinpool.RemoveOptions{Deferred: true, For: forLease})
	if err != nil && !gone(err) {
		return err
	}
	l.made = false
	return nil
}

// End removes what is left of the lease. Its lock is released in any case: if the rest
// has failed, the next lease removes it.
func (l *Lease) End(ctx context.Context) error {
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	if l.made {
		return errors.Join(l.s.clearLease(ctx, l.id), l.lock.Release())
	}
	return errors.Join(l.s.forgetLease(ctx, l.id), l.lock.Release())
}

// EndIn ends a lease without a working volume in the caller's transaction. Release
// follows when the transaction is durable.
func (l *Lease) EndIn(tx *thinpool.Tx) error { return tx.Delete(kindLeases, l.id) }

// Release releases the lock of a lease that EndIn has ended.
func (l *Lease) Release() error { return l.lock.Release() }

// clearLease removes everything that belongs to a lease, its document last.
func (s *Snapshotter) clearLease(ctx context.Context, id string) error {
	if err := s.unmountLease(ctx, id); err != nil {
		return err
	}
	removals, err := s.pool.RemoveVolumes(
		ctx,
		[]string{leaseVolume(id)},
		thinpool.RemoveOptions{Deferred: true, For: forLease},
		func(tx *thinpool.Tx) error { return tx.Delete(kindLeases, id) },
	)
	if len(removals) == 0 && gone(err) {
		return s.forgetLease(ctx, id)
	}
	return err
}

// forgetLease removes the document of a lease that has no volume.
func (s *Snapshotter) forgetLease(ctx context.Context, id string) error {
	return s.pool.Update(ctx, func(tx *thinpool.Tx) error { return tx.Delete(kindLeases, id) })
}

// ClearLeases removes what leases of killed processes left.
func (s *Snapshotter) ClearLeases(ctx context.Context) error {
	var leases []leaseRecord
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		leases, err = leasesIn(tx)
		return err
	})
	return errors.Join(err, s.clearDead(ctx, leases))
}

// clearDead removes the leases whose process has ended.
func (s *Snapshotter) clearDead(ctx context.Context, leases []leaseRecord) error {
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
func (s *Snapshotter) clearIfLeft(ctx context.Context, id string) error {
	var left bool
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		_, left, err = thinpool.Document[leaseRecord](tx, kindLeases, id)
		return err
	})
	if err != nil || !left {
		return err
	}
	return s.clearLease(ctx, id)
}

package containerd

import (
	"context"
	"errors"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/internal/filelock"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// Mounts returns how to mount an active snapshot or a view. The device is there
// when it returns, after a reboot too.
func (s *Snapshotter) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	if err := checkName("mount", "key", key); err != nil {
		return nil, err
	}
	r, volume, err := s.withVolume(ctx, "mount", key)
	if err != nil {
		return nil, failed("mount", key, err)
	}
	if r.Kind == core.KindCommitted {
		return nil, refused("mount", key, fault.Refused, "it is committed: only active snapshots and views are mounted")
	}
	if standing, ok := s.pool.Standing(ctx, volume); ok && !r.grows() {
		return []mount.Mount{r.mount(standing)}, nil
	}
	mounts, err := s.ready(ctx, key, r)
	return mounts, failed("mount", key, err)
}

// get reads a snapshot's document in a transaction of its own.
func (s *Snapshotter) get(ctx context.Context, op, name string) (r record, err error) {
	err = s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		r, err = s.find(tx, op, name)
		return err
	})
	return r, err
}

// withVolume is get with the record of the snapshot's volume, which is zero if the
// volume does not exist.
func (s *Snapshotter) withVolume(ctx context.Context, op, name string) (r record, volume thinpool.VolumeRecord, err error) {
	err = s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		if r, err = s.find(tx, op, name); err != nil {
			return err
		}
		if volume, err = tx.Volume(r.Volume); fault.KindOf(err) == fault.NotFound {
			return nil
		}
		return err
	})
	return r, volume, err
}

// ready makes a snapshot's device, and lets its file system fill it.
func (s *Snapshotter) ready(ctx context.Context, key string, r record) ([]mount.Mount, error) {
	if r.borrows() { // the last view before this may be putting it away
		unlock, err := s.lock(ctx, r.Volume)
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	volume, err := s.pool.ActivateVolume(ctx, r.Volume)
	if gone(err) {
		return nil, refused("activate", key, fault.NotFound, "it was removed or committed meanwhile")
	}
	if err != nil {
		return nil, err
	}
	if r.grows() {
		if err := s.grow(ctx, key, r, volume); err != nil {
			return nil, err
		}
	}
	return []mount.Mount{r.mount(volume)}, nil
}

// grows tells whether the file system has yet to fill its volume.
func (r record) grows() bool {
	return r.Kind == core.KindActive && r.FileSystem != 0 && r.FileSystem < r.Size
}

func (r record) mount(volume thinpool.Volume) mount.Mount {
	return mount.Mount{Type: string(r.FS), Source: volume.Node, Options: mountOptions(r)}
}

// mountOptions are package filesystem's own: a snapshot has its origin's uuid; a
// view cannot replay its journal, and need not, since its parent was frozen or
// unmounted; the inode tables of ext4 are zero in a thin volume without being
// written.
func mountOptions(r record) []string {
	var options []string
	switch {
	case r.Kind == core.KindView && r.FS == filesystem.XFS:
		options = []string{"ro", "nouuid", "norecovery"}
	case r.Kind == core.KindView:
		options = []string{"ro", "noload"}
	case r.FS == filesystem.XFS:
		options = []string{"rw", "nouuid"}
	default:
		options = []string{"rw", "noinit_itable"}
	}
	return options
}

// grow brings a file system to its volume's size, and notes that it is.
func (s *Snapshotter) grow(ctx context.Context, key string, r record, volume thinpool.Volume) error {
	unlock, err := s.lock(ctx, r.Volume)
	if err != nil {
		return err
	}
	defer unlock()
	if now, err := s.get(ctx, "grow", key); err != nil || now.ID != r.ID || now.FileSystem == 0 {
		return err
	}
	err = s.mounted(ctx, r, volume, func(target string) error { return s.files.Grow(ctx, volume.Node, target) })
	if err != nil {
		return err
	}
	return s.pool.Update(ctx, func(tx *thinpool.Tx) error {
		now, err := s.find(tx, "grow", key)
		if err != nil || now.ID != r.ID {
			return err
		}
		now.FileSystem = 0
		return s.put(tx, key, now)
	})
}

// mounted calls do while a volume is mounted in a folder of its own. The volume's
// lock is held.
func (s *Snapshotter) mounted(ctx context.Context, r record, volume thinpool.Volume, do func(target string) error) error {
	target := filepath.Join(s.pool.MountsDir(), folderPrefix+r.Volume)
	if real, err := filepath.EvalSymlinks(s.pool.MountsDir()); err == nil {
		target = filepath.Join(real, folderPrefix+r.Volume)
	}
	err := s.files.Mount(ctx, volume.Node, target, filesystem.MountOptions{Type: r.FS, MakeTarget: true, FailWhenFull: true,
		Options: []string{"nosuid", "nodev", "noexec"}})
	if err != nil {
		return errors.Join(err, removeFolder(target))
	}
	return errors.Join(do(target), s.unmount(ctx, target))
}

// unmount takes a mount of this package's away. Somebody may have entered it, or
// made a mount namespace meanwhile; that ends with the folder, but for open files.
func (s *Snapshotter) unmount(ctx context.Context, target string) error {
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	err := s.files.Unmount(ctx, target, filesystem.UnmountOptions{})
	if errors.Is(err, fault.Busy) {
		err = s.files.Unmount(ctx, target, filesystem.UnmountOptions{Lazy: true})
	}
	if err != nil && !errors.Is(err, filesystem.ErrNotMounted) {
		return err
	}
	return removeFolder(target)
}

func removeFolder(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// folderPrefix begins the folders of this package's mounts; the volume's name
// follows.
const folderPrefix = ".containerd."

// lockFile is in the pool's folder; a byte of it is a volume's that is mounted
// here for a moment. Two volumes that share one wait for each other, no more.
const lockFile = "containerd.lock"

func (s *Snapshotter) span(volume string) (string, filelock.Range) {
	h := fnv.New64a()
	h.Write([]byte(volume))
	return filepath.Join(s.pool.Dir(), lockFile), filelock.Range{Start: int64(h.Sum64() >> 2), Length: 1}
}

func (s *Snapshotter) lock(ctx context.Context, volume string) (unlock func(), err error) {
	path, span := s.span(volume)
	lock, err := filelock.Acquire(ctx, path, span)
	if err != nil {
		return nil, err
	}
	return func() { lock.Release() }, nil
}

// clearFolders takes away the mounts that killed processes have left.
func (s *Snapshotter) clearFolders(ctx context.Context) error {
	entries, err := os.ReadDir(s.pool.MountsDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var faults []error
	for _, entry := range entries {
		volume, is := strings.CutPrefix(entry.Name(), folderPrefix)
		if !is {
			continue
		}
		path, span := s.span(volume)
		lock, err := filelock.Try(path, span)
		if errors.Is(err, filelock.ErrHeld) {
			continue
		}
		if err == nil {
			target := filepath.Join(s.pool.MountsDir(), entry.Name())
			if real, fault := filepath.EvalSymlinks(target); fault == nil {
				target = real
			}
			err = errors.Join(s.unmount(ctx, target), lock.Release())
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

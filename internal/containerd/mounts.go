package containerd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/internal/filelock"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// Mounts returns how to mount an active snapshot or a view. The device exists when it
// returns, also after a reboot.
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
	if active, ok := s.pool.LookupActive(ctx, volume); ok && !r.grows() {
		return []mount.Mount{r.mount(active)}, nil
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
func (s *Snapshotter) withVolume(
	ctx context.Context,
	op, name string,
) (r record, volume thinpool.VolumeRecord, err error) {
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

// ready activates a snapshot's device and grows its file system to the volume's size.
func (s *Snapshotter) ready(ctx context.Context, key string, r record) ([]mount.Mount, error) {
	if r.shares() { // the last view before this may be putting it away
		lock, err := s.layers.LockVolume(ctx, r.Volume)
		if err != nil {
			return nil, err
		}
		defer lock.Release()
	}
	volume, err := s.pool.ActivateVolume(ctx, r.Volume)
	if gone(err) {
		return nil, refused("activate", key, fault.NotFound, "it was removed or committed in the meantime")
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

// grows reports whether the file system is smaller than its volume.
func (r record) grows() bool {
	return r.Kind == core.KindActive && r.FileSystem != 0 && r.FileSystem < r.Size
}

func (r record) mount(volume thinpool.Volume) mount.Mount {
	return mount.Mount{Type: string(r.FS), Source: volume.Node, Options: mountOptions(r)}
}

// mountOptions returns the options of package filesystem. A snapshot has the uuid of
// its origin. A view cannot replay its journal, and need not: its parent was frozen or
// unmounted. The inode tables of ext4 read as zeros in a thin volume without being
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

// grow grows a file system to its volume's size, and records it.
func (s *Snapshotter) grow(ctx context.Context, key string, r record, volume thinpool.Volume) error {
	lock, err := s.layers.LockVolume(ctx, r.Volume)
	if err != nil {
		return err
	}
	defer lock.Release()
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

// mounted calls do while a volume is mounted in a directory of its own. The caller
// holds the volume's lock.
func (s *Snapshotter) mounted(
	ctx context.Context,
	r record,
	volume thinpool.Volume,
	do func(target string) error,
) error {
	target := filepath.Join(s.layers.MountsDir(), mountPrefix+r.Volume)
	o := filesystem.MountOptions{Type: r.FS, MakeTarget: true, FailWhenFull: true,
		Options: []string{"nosuid", "nodev", "noexec"}}
	if err := s.files.Mount(ctx, volume.Node, target, o); err != nil {
		return errors.Join(err, snapshots.RemoveMount(ctx, s.files, target))
	}
	return errors.Join(do(target), snapshots.RemoveMount(ctx, s.files, target))
}

// mountPrefix is the prefix of this package's mount directories; the name of the volume
// follows.
const mountPrefix = ".containerd."

// clearMounts removes the mounts that killed processes left.
func (s *Snapshotter) clearMounts(ctx context.Context) error {
	entries, err := os.ReadDir(s.pool.MountsDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var faults []error
	for _, entry := range entries {
		volume, is := strings.CutPrefix(entry.Name(), mountPrefix)
		if !is {
			continue
		}
		lock, err := s.layers.TryLockVolume(volume)
		if errors.Is(err, filelock.ErrHeld) {
			continue
		}
		if err == nil {
			target := filepath.Join(s.layers.MountsDir(), entry.Name())
			err = errors.Join(snapshots.RemoveMount(ctx, s.files, target), lock.Release())
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

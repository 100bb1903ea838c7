package snapshots

import (
	"context"

	"github.com/containerd/containerd/v2/core/mount"
	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
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
func (s *Snapshotter) get(ctx context.Context, op, name string) (r Record, err error) {
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
) (r Record, volume thinpool.VolumeRecord, err error) {
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
func (s *Snapshotter) ready(ctx context.Context, key string, r Record) ([]mount.Mount, error) {
	if r.shares() { // the last view before this may be putting it away
		lock, err := s.LockVolume(ctx, r.Volume)
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
func (r Record) grows() bool {
	return r.Kind == core.KindActive && r.FileSystem != 0 && r.FileSystem < r.Size
}

func (r Record) mount(volume thinpool.Volume) mount.Mount {
	return mount.Mount{Type: string(r.FS), Source: volume.Node, Options: mountOptions(r)}
}

// mountOptions returns the options of package filesystem. A snapshot has the uuid of
// its origin. A view cannot replay its journal, and need not: its parent was frozen or
// unmounted. The inode tables of ext4 read as zeros in a thin volume without being
// written.
func mountOptions(r Record) []string {
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
func (s *Snapshotter) grow(ctx context.Context, key string, r Record, volume thinpool.Volume) error {
	lock, err := s.LockVolume(ctx, r.Volume)
	if err != nil {
		return err
	}
	defer lock.Release()
	if now, err := s.get(ctx, "grow", key); err != nil || now.ID != r.ID || now.FileSystem == 0 {
		return err
	}
	err = s.mounted(ctx, r, func(target string) error { return s.files.Grow(ctx, volume.Node, target) })
	if err != nil {
		return err
	}
	return s.noteGrown(ctx, key, r.ID)
}

// NoteGrown records that the file system of a snapshot has grown to the volume's size.
// The snapshot may have been removed.
func (s *Snapshotter) NoteGrown(ctx context.Context, key string) error {
	r, err := s.get(ctx, "grow", key)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.noteGrown(ctx, key, r.ID)
}

func (s *Snapshotter) noteGrown(ctx context.Context, key, id string) error {
	return s.pool.Update(ctx, func(tx *thinpool.Tx) error {
		now, err := s.find(tx, "grow", key)
		if err != nil || now.ID != id {
			return err
		}
		now.FileSystem = 0
		return s.put(tx, key, now)
	})
}

// mounted calls do while a volume is mounted in a directory of its own. The caller
// holds the volume's lock.
func (s *Snapshotter) mounted(ctx context.Context, r Record, do func(target string) error) error {
	o := filesystem.MountOptions{Type: r.FS, FailWhenFull: true, Options: []string{"nosuid", "nodev", "noexec"}}
	return s.WithMounted(ctx, r.Volume, o, true, do)
}

package snapshots

import (
	"context"

	"github.com/containerd/containerd/v2/core/mount"
	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// Active is an active snapshot that a caller fills.
type Active struct {
	s   *Snapshotter
	one *side
}

// Active finds the active snapshot behind mounts that [Snapshotter.Mounts] or Prepare
// returned. The kind of the error is Unsupported if the mount is not a snapshot of this
// namespace or not an active one, and NotFound if the snapshot was removed.
func (s *Snapshotter) Active(ctx context.Context, mounts []mount.Mount) (*Active, error) {
	if err := s.checkMounts(mounts); err != nil {
		return nil, err
	}
	if len(mounts) == 0 {
		return nil, foreign("no mounts")
	}
	a := &Active{s: s}
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		a.one, err = s.behind(tx, mounts[0])
		return err
	})
	if err == nil && a.one.Kind != core.KindActive {
		err = refused("fill", a.one.name, fault.Unsupported, "it is not active")
	}
	return a, err
}

// Name returns the name of the snapshot.
func (a *Active) Name() string { return a.one.name }

// Fill calls f with the root of the snapshot, mounted to be written. When it returns, all
// that f wrote is on the disk. The snapshot must not be mounted: the kind of the error is
// Busy if it is. A failed f leaves what it has written.
func (a *Active) Fill(ctx context.Context, f func(root string) error) error {
	const op = "fill"
	lock, err := a.s.LockVolume(ctx, a.one.Volume)
	if err != nil {
		return failed(op, a.one.name, err)
	}
	defer lock.Release()
	_, points, err := a.s.MountsOf(ctx, a.one.Volume)
	if err == nil && len(points) > 0 {
		err = refused(op, a.one.name, fault.Busy, "it is mounted at "+points[0].Path)
	}
	if err != nil {
		return failed(op, a.one.name, err)
	}
	o := filesystem.MountOptions{Type: a.one.FS, FailWhenFull: true,
		Options: append(mountOptions(a.one.Record), "noatime", "nosuid", "nodev", "noexec")}
	err = a.s.WithMounted(ctx, a.one.Volume, o, true, func(root string) error {
		if err := f(root); err != nil {
			return err
		}
		// An unmount does not report that a write has failed, as in a pool that became full.
		return a.s.files.Sync(ctx, root)
	})
	if gone(err) {
		return refused(op, a.one.name, fault.NotFound, "it was removed or committed in the meantime")
	}
	if err != nil {
		return a.s.WriteFailed(ctx, op, "snapshot "+quoted(a.one.name), err)
	}
	return nil
}

package snapshots

import (
	"context"
	"errors"

	"thinctl/snapshots/filesystem"
)

// WithFrozen calls f with the tree of a volume as it was at one moment. Other
// processes may have the volume mounted and may write to it in the meantime: f reads a
// snapshot of it that is taken while its file system is frozen, and removed
// afterwards. The volume's own device is never mounted a second time, which the
// kernel refuses for a read-only mount beside a read-write one (fs/super.c,
// get_tree_bdev_flags).
func (s *Store) WithFrozen(ctx context.Context, volume string, fs filesystem.Type, f func(root string) error) error {
	return s.withLease(ctx, func(w *lease) (string, error) {
		if err := w.copy(ctx, volume, 0); err != nil {
			return "", err
		}
		active, err := s.pool.ActivateVolume(ctx, w.volume())
		if err != nil {
			return "", err
		}
		// The mount replays the journal: a virtual machine that has the device keeps
		// its journal, and so does a volume that was not mounted since the host
		// crashed.
		return w.show(ctx, active.Node, filesystem.MountOptions{Type: fs})
	}, f)
}

// WithUnwritten calls f with the tree on a device that no process writes to. The device
// is active and stays active.
func (s *Store) WithUnwritten(ctx context.Context, node string, fs filesystem.Type, f func(root string) error) error {
	return s.withLease(ctx, func(w *lease) (string, error) {
		w.made = true // its mount is to be cleared
		return w.show(ctx, node, filesystem.MountOptions{Type: fs, NoRecovery: true})
	}, f)
}

// withLease calls f with the tree that show mounts. The lease's document lets the next
// process remove the mount and the volume if this process is killed.
func (s *Store) withLease(
	ctx context.Context,
	show func(*lease) (root string, err error),
	f func(root string) error,
) error {
	w, err := s.beginLease(ctx, nil, nil)
	if err != nil {
		return err
	}
	root, err := show(w)
	if err == nil {
		err = f(root)
	}
	return errors.Join(err, w.end(ctx))
}

// show mounts a device read-only at the mount point of the lease.
func (w *lease) show(ctx context.Context, node string, o filesystem.MountOptions) (target string, err error) {
	o.ReadOnly, o.MakeTarget = true, true
	o.Options = append(o.Options, "noatime", "nosuid", "nodev", "noexec")
	target = w.s.leaseTarget(w.id)
	return target, w.s.files.Mount(ctx, node, target, o)
}

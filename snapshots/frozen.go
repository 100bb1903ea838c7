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
func (s *Snapshotter) WithFrozen(
	ctx context.Context,
	volume string,
	fs filesystem.Type,
	f func(root string) error,
) error {
	return s.withLease(ctx, func(l *Lease) (string, error) {
		if err := l.Copy(ctx, volume, 0); err != nil {
			return "", err
		}
		active, err := s.pool.ActivateVolume(ctx, l.Volume())
		if err != nil {
			return "", err
		}
		// The mount replays the journal: a virtual machine that has the device keeps
		// its journal, and so does a volume that was not mounted since the host
		// crashed.
		return l.show(ctx, active.Node, filesystem.MountOptions{Type: fs})
	}, f)
}

// WithUnwritten calls f with the tree on a device that no process writes to. The device
// is active and stays active.
func (s *Snapshotter) WithUnwritten(
	ctx context.Context,
	node string,
	fs filesystem.Type,
	f func(root string) error,
) error {
	return s.withLease(ctx, func(l *Lease) (string, error) {
		l.made = true // its mount is to be cleared
		return l.show(ctx, node, filesystem.MountOptions{Type: fs, NoRecovery: true})
	}, f)
}

// withLease calls f with the tree that show mounts. The lease's document lets the next
// process remove the mount and the volume if this process is killed.
func (s *Snapshotter) withLease(
	ctx context.Context,
	show func(*Lease) (root string, err error),
	f func(root string) error,
) error {
	l, err := s.Lease(ctx, nil, nil)
	if err != nil {
		return err
	}
	root, err := show(l)
	if err == nil {
		err = f(root)
	}
	return errors.Join(err, l.End(ctx))
}

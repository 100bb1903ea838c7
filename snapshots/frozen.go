package snapshots

import (
	"context"
	"errors"

	"thinctl/snapshots/filesystem"
)

// shownTree is a tree that is mounted to be read, with the device that it is on.
type shownTree struct {
	root         string
	volume, node string // node is "" if another owner has mounted it
	fs           filesystem.Type
}

// withFrozen calls f with the tree of a volume as it was at one moment. Other
// processes may have the volume mounted and may write to it in the meantime: f reads a
// snapshot of it that is taken while its file system is frozen, and removed
// afterwards. The volume's own device is never mounted a second time, which the
// kernel refuses for a read-only mount beside a read-write one (fs/super.c,
// get_tree_bdev_flags).
func (s *Snapshotter) withFrozen(ctx context.Context, r Record, f func(shownTree) error) error {
	return s.withLease(ctx, func(l *Lease) (shownTree, error) {
		if err := l.Copy(ctx, r.Volume, 0); err != nil {
			return shownTree{}, err
		}
		active, err := s.pool.ActivateVolume(ctx, l.Volume())
		if err != nil {
			return shownTree{}, err
		}
		// The mount replays the journal: a virtual machine that has the device keeps
		// its journal, and so does a volume that was not mounted since the host
		// crashed.
		root, err := l.show(ctx, active.Node, filesystem.MountOptions{Type: r.FS})
		return shownTree{root, l.Volume(), active.Node, r.FS}, err
	}, f)
}

// withUnwritten calls f with the tree on a device that no process writes to. The device
// is active and stays active.
func (s *Snapshotter) withUnwritten(ctx context.Context, r Record, node string, f func(shownTree) error) error {
	return s.withLease(ctx, func(l *Lease) (shownTree, error) {
		l.made = true // its mount is to be cleared
		root, err := l.show(ctx, node, filesystem.MountOptions{Type: r.FS, NoRecovery: true})
		return shownTree{root, r.Volume, node, r.FS}, err
	}, f)
}

// withLease calls f with the tree that show mounts. The lease's document lets the next
// process remove the mount and the volume if this process is killed.
func (s *Snapshotter) withLease(
	ctx context.Context,
	show func(*Lease) (shownTree, error),
	f func(shownTree) error,
) error {
	l, err := s.Lease(ctx, nil, nil)
	if err != nil {
		return err
	}
	tree, err := show(l)
	if err == nil {
		err = f(tree)
	}
	return errors.Join(err, l.End(ctx))
}

package layers

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"thinctl/blockdev"
	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// MountOptions are the options of MountContainer.
type MountOptions struct {
	ReadOnly bool
	// Target is the mount point; "" means the container's directory below the pool's
	// mounts.
	Target string
}

func (s *Store) containerTarget(id string) string { return filepath.Join(s.MountsDir(), id) }

// MountContainer mounts a container and returns the mount point. A container that is
// already mounted in this way stays as it is. If the volume is larger than its file
// system, the file system grows.
func (s *Store) MountContainer(ctx context.Context, id string, o MountOptions) (string, error) {
	c, err := s.Container(ctx, id)
	if err != nil {
		return "", err
	}
	target := s.containerTarget(c.ID)
	if o.Target != "" {
		if target, err = filepath.Abs(o.Target); err != nil {
			return "", failed("mount", "container "+c.Name, err)
		}
		target = snapshots.ResolvedPath(target)
	}
	lock, err := s.snaps.LockVolume(ctx, containerVolume(c.ID))
	if err != nil {
		return "", failed("mount", "container "+c.Name, err)
	}
	defer lock.Release()
	if err := s.mountAt(ctx, c, target, o.ReadOnly); err != nil {
		return "", failed("mount", "container "+c.Name, err)
	}
	return target, nil
}

func (s *Store) mountAt(ctx context.Context, c Container, target string, readOnly bool) error {
	volume, err := s.pool.ActivateVolume(ctx, containerVolume(c.ID))
	if err != nil {
		return err
	}
	points, err := s.files.Mounts(volume.Dev)
	if err != nil {
		return err
	}
	mounted := false
	for _, point := range points {
		switch {
		case point.Path == target && point.ReadOnly == readOnly:
			mounted = true
		case !readOnly || !point.ReadOnly:
			return s.elsewhere("mount", c, point)
		}
	}
	if !mounted {
		err = s.files.Mount(ctx, volume.Node, target, mountOptions(c, readOnly))
	}
	if errors.Is(err, fault.Busy) && !errors.Is(err, filesystem.ErrMountPoint) {
		return s.heldBy(ctx, "mount", c, volume.Dev, err)
	}
	if err != nil {
		return errors.Join(err, s.snaps.DeactivateUnused(ctx, volume.Name))
	}
	if readOnly || c.FileSystem == 0 || c.FileSystem >= c.Size {
		return nil
	}
	return s.grow(ctx, volume, target)
}

func mountOptions(c Container, readOnly bool) filesystem.MountOptions {
	o := filesystem.MountOptions{Type: c.FS, ReadOnly: readOnly, MakeTarget: true, FailWhenFull: true}
	if c.MountLabel != "" {
		o.Options = append(o.Options, fmt.Sprintf("context=%q", c.MountLabel))
	}
	return o
}

// grow grows a container's file system to the volume's size, and records it.
func (s *Store) grow(ctx context.Context, volume thinpool.Volume, target string) error {
	if err := s.files.Grow(ctx, volume.Node, target); err != nil {
		return err
	}
	return s.snaps.NoteGrown(ctx, volume.Name)
}

// UnmountContainer unmounts a container everywhere in this mount namespace, except
// where a view shows it, and deactivates its device.
func (s *Store) UnmountContainer(ctx context.Context, id string) error {
	c, err := s.Container(ctx, id)
	if err != nil {
		return err
	}
	lock, err := s.snaps.LockVolume(ctx, containerVolume(c.ID))
	if err != nil {
		return failed("unmount", "container "+c.Name, err)
	}
	defer lock.Release()
	return failed("unmount", "container "+c.Name, s.unmountAll(ctx, c))
}

func (s *Store) unmountAll(ctx context.Context, c Container) error {
	volume, points, err := s.snaps.MountsOf(ctx, containerVolume(c.ID))
	if err != nil {
		return err
	}
	found := false
	for _, point := range points {
		if s.snaps.IsTreeMount(point.Path) {
			continue
		}
		found = true
		err := s.files.Unmount(ctx, point.Path, filesystem.UnmountOptions{})
		if errors.Is(err, fault.Busy) {
			return s.heldBy(ctx, "unmount", c, volume.Dev, err)
		}
		if err != nil {
			return err
		}
	}
	if !found {
		return &Error{Op: "unmount", Object: "container " + c.Name, Kind: ErrNotMounted}
	}
	if err := snapshots.RemoveDir(s.containerTarget(c.ID)); err != nil {
		return err
	}
	return s.snaps.DeactivateUnused(ctx, volume.Name)
}

// Mounts returns the mount points of containers in this mount namespace, by container
// id. Views do not count.
func (s *Store) Mounts(ctx context.Context) (map[string][]string, error) {
	volumes, err := s.pool.Volumes(ctx)
	if err != nil {
		return nil, failed("list", "mounts", err)
	}
	mounts := map[string][]string{}
	for _, volume := range volumes {
		id, is := strings.CutPrefix(volume.Name, containerVolume(""))
		if !is || volume.For != snapshots.ForContainer || !volume.Active {
			continue
		}
		points, err := s.files.Mounts(volume.Dev)
		if err != nil {
			return nil, failed("list", "mounts", err)
		}
		for _, point := range points {
			if !s.snaps.IsTreeMount(point.Path) {
				mounts[id] = append(mounts[id], point.Path)
			}
		}
	}
	return mounts, nil
}

func (s *Store) elsewhere(op string, c Container, at filesystem.MountPoint) error {
	how := "read-write"
	if at.ReadOnly {
		how = "read-only"
	}
	return &Error{
		Op:     op,
		Object: "container " + c.Name,
		Kind:   ErrMounted,
		Detail: how + " at " + at.Path,
		Cure:   Cure{Code: CureUnmount, Pool: s.pool.Name(), Container: c.Name},
	}
}

// heldBy returns the error for a container whose volume is in use, with the processes
// and mounts that use it.
func (s *Store) heldBy(ctx context.Context, op string, c Container, dev blockdev.Number, cause error) error {
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	e := &Error{Op: op, Object: "container " + c.Name, Kind: ErrMounted, Err: cause}
	holders, err := s.files.Holders(ctx, dev)
	var who []string
	for _, h := range holders {
		who = append(who, h.String())
	}
	if err != nil {
		who = append(who, err.Error())
	}
	e.Detail = strings.Join(who, "; ")
	e.Remedy = "stop those processes, or unmount it there"
	return e
}

// heldOpen returns the error for a volume whose device is open, with the holders that
// the pool reported.
func heldOpen(op, object string, kind, cause error) error {
	e := &Error{Op: op, Object: object, Kind: kind, Err: cause}
	var own *thinpool.Error
	if errors.As(cause, &own) {
		e.Detail, e.Remedy, e.Cure, e.Err = own.Detail, own.Remedy, own.Cure, nil
	}
	return e
}

// TrimContainer discards the blocks that a container's file system does not use. It
// returns how much the file system discarded.
func (s *Store) TrimContainer(ctx context.Context, id string) (units.Bytes, error) {
	c, err := s.Container(ctx, id)
	if err != nil {
		return 0, err
	}
	lock, err := s.snaps.LockVolume(ctx, containerVolume(c.ID))
	if err != nil {
		return 0, failed("trim", "container "+c.Name, err)
	}
	defer lock.Release()
	var offered units.Bytes
	err = s.withMounted(ctx, c, func(root string) (err error) {
		offered, err = s.files.Trim(ctx, root)
		return err
	})
	return offered, failed("trim", "container "+c.Name, err)
}

// withMounted calls do with the root of a container that is mounted read-write, and
// mounts the container for that time if it is not mounted. The caller holds the
// volume's lock.
func (s *Store) withMounted(ctx context.Context, c Container, do func(root string) error) error {
	volume, points, err := s.snaps.MountsOf(ctx, containerVolume(c.ID))
	if err != nil {
		return err
	}
	for _, point := range points {
		if point.ReadOnly {
			return s.elsewhere("write to", c, point)
		}
	}
	if len(points) > 0 {
		return do(points[0].Path)
	}
	return s.snaps.WithMounted(ctx, volume.Name, mountOptions(c, false), false, do)
}

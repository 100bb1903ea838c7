package filesystem

import (
	"context"
	"errors"
	"fmt"
	"os"

	"thinctl/fault"
	"thinctl/internal/errno"

	"golang.org/x/sys/unix"
)

// Mount mounts device at target, which must be a directory where nothing is
// mounted.
func Mount(ctx context.Context, device, target string, o MountOptions) error {
	return in("mount", device+" at "+target, mount(ctx, device, target, o))
}

func mount(ctx context.Context, device, target string, o MountOptions) error {
	if err := errors.Join(checkPath(device), checkPath(target)); err != nil {
		return err
	}
	if o.Type == "" {
		found, _, err := Detect(device)
		if err != nil {
			return err
		}
		if found == "" {
			return &Error{Kind: ErrNoFilesystem, Detail: "format it first"}
		}
		o.Type = found
	}
	flags, data, err := o.resolve()
	if err != nil {
		return err
	}
	made, err := prepareTarget(target, o.MakeTarget)
	if err != nil {
		return err
	}
	ctx, cancel := bound(ctx, kernelBound)
	defer cancel()
	attempt := func() error { return unix.Mount(device, target, string(o.Type), flags, data) }
	undo := func() { _ = unix.Unmount(target, unix.UMOUNT_NOFOLLOW) }
	err = explainMount(call(ctx, attempt, undo), o)
	if err != nil && made {
		// Without its target, a mount in progress fails.
		if rerr := os.Remove(target); rerr != nil && !errno.Is(rerr, unix.EBUSY) {
			return errors.Join(err, rerr)
		}
	}
	if err == nil && o.FailWhenFull && o.Type == XFS {
		if err = failWhenFull("/sys", device); err != nil {
			undo()
		}
	}
	return err
}

// prepareTarget checks target, or makes it, and reports whether it did.
func prepareTarget(target string, create bool) (made bool, err error) {
	info, err := os.Lstat(target)
	if create && errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(target, 0o700); err != nil {
			return false, fmt.Errorf("make the target: %w", err)
		}
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if !info.IsDir() {
		return false, invalid("the target is not a directory")
	}
	f, err := openMount(target)
	if err == nil {
		return false, errors.Join(&Error{Kind: ErrMountPoint, Detail: "unmount it, or choose another target"}, f.Close())
	}
	if errors.Is(err, ErrNotMounted) {
		return false, nil
	}
	return false, err
}

// explainMount adds the cause to an errno of mount(2).
func explainMount(err error, o MountOptions) error {
	e := &Error{Err: err}
	switch {
	case errno.Is(err, unix.EBUSY):
		e.Kind, e.Detail = fault.Busy, "the device is mounted elsewhere with other options, or claimed by another device"
	case errno.Is(err, unix.ENODEV):
		e.Kind, e.Detail = fault.Unsupported, fmt.Sprintf("the kernel has no %s: load it with `modprobe %s`", o.Type, o.Type)
	case errno.Is(err, unix.EUCLEAN, unix.EBADMSG): // EFSCORRUPTED, EFSBADCRC
		e.Kind, e.Detail = fault.Damaged, "see dmesg; repair it with fsck"
	case errno.Is(err, unix.EINVAL):
		e.Detail = fmt.Sprintf("not a valid %s, or the kernel does not support an option; see dmesg", o.Type)
	case errno.Is(err, unix.EACCES, unix.EROFS):
		e.Detail = "the device is read-only: mount it read-only, and without recovery if its journal is not empty"
	case errno.Is(err, unix.EPERM):
		e.Kind, e.Detail = fault.Denied, "mounting needs root (CAP_SYS_ADMIN)"
	default:
		return err
	}
	return e
}

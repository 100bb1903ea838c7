package filesystem

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/snapshots/filesystem/program"
)

// Grow extends the file system on device to the size of the device. The file system
// must be mounted at target, read-write.
func Grow(ctx context.Context, device, target string) error {
	return in("grow", device+" at "+target, programs{}.grow(ctx, device, target))
}

func (p programs) grow(ctx context.Context, device, target string) error {
	ctx, cancel := bound(ctx, programBound)
	defer cancel()
	if err := call(ctx, func() error { return isMountOf(device, target) }, nil); err != nil {
		return err
	}
	found, _, err := Detect(device)
	if err != nil {
		return err
	}
	command, args := program.Program{Name: "resize2fs", Packages: "e2fsprogs"}, []string{device}
	switch found {
	case Ext4:
	case XFS:
		command, args = program.Program{Name: "xfs_growfs", Packages: "xfsprogs"}, []string{"-d", target}
	default:
		return &Error{Kind: ErrNoFilesystem}
	}
	path, err := command.Find(p.dirs)
	if err != nil {
		return err
	}
	if _, err := program.Run(ctx, path, args...); err != nil {
		if found == Ext4 && !capable(unix.CAP_SYS_RESOURCE) {
			return &Error{Kind: fault.Denied, Err: err,
				Detail: "growing a mounted ext4 needs CAP_SYS_RESOURCE (fs/ext4/resize.c)"}
		}
		return &Error{Err: err, Detail: "the file system is intact, but may not have its new size; grow it again"}
	}
	return nil
}

// isMountOf fails unless the file system at target is the one on device.
func isMountOf(device, target string) error {
	if err := checkPath(device); err != nil {
		return err
	}
	var node, root unix.Stat_t
	if err := unix.Stat(device, &node); err != nil {
		return fmt.Errorf("stat the device: %w", err)
	}
	if node.Mode&unix.S_IFMT != unix.S_IFBLK {
		return invalid("not a block device")
	}
	f, err := openMount(target)
	if err != nil {
		return err
	}
	err = errors.Join(unix.Fstat(int(f.Fd()), &root), f.Close())
	if err == nil && root.Dev != node.Rdev {
		err = &Error{Kind: ErrNotMounted, Detail: fmt.Sprintf("device %d:%d is mounted at the target",
			unix.Major(uint64(root.Dev)), unix.Minor(uint64(root.Dev)))}
	}
	return err
}

// capable reports whether the process has a capability. It returns true if the
// kernel does not report the capabilities.
func capable(capability uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	return err != nil || data[capability/32].Effective&(1<<(capability%32)) != 0
}

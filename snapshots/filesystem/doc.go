// Package filesystem formats, mounts, grows, freezes and trims the ext4 and xfs
// file systems on thin volumes, and finds the processes that keep a volume in
// use. It is the only package that runs other programs for file systems.
//
// # Words
//
//   - A device is the path of a block device. A target is the directory that a
//     device is mounted at. Both are absolute.
//   - A signature is a mark by which a device is recognized as not empty: the one
//     of a file system, a partition table or another system's label.
//   - A holder is a mount namespace in which a device is mounted, or whose
//     processes use it. A container that was started while a volume was mounted
//     keeps its own copy of that mount, and thereby the volume.
//
// # Caveats
//
// The context limits each call; without a deadline in the context the package
// sets one. The kernel does not return from a call on a device that accepts no
// IO, such as a volume of a thin pool that queues for space. Such a call returns
// at the deadline and continues in the background. A [Mount] or [Freeze] that
// succeeds too late is undone. [Thaw] takes no context: a frozen file system must
// be thawed even after the caller's context has ended.
//
// System calls run on any thread of the process. A goroutine that locked its
// thread and moved it to another mount namespace is not supported.
//
// Format does not write zeros to inode tables, as an empty thin volume reads as
// zeros. The kernel would write them after the first mount, and again in each
// snapshot (fs/ext4/super.c, ext4lazyinit). Mount therefore adds noinit_itable for
// ext4, unless the options have init_itable.
//
// A new ext4 contains lost+found. A caller that makes base volumes removes it.
//
// mkfs enables the features that are the default of its release. For a kernel
// older than the tools, Args must disable them (such as -m crc=0 for xfs on 3.10).
//
// [Holders] reads /proc. It does not find a mount namespace that only a thread, a
// bind mount or an open file keeps, files that are mapped but closed, or users
// inside the kernel, such as a swap area or another device's table.
//
// # Example
//
//	device, target := "/dev/mapper/thinctl-p1-web", "/var/lib/thinctl/p1/mnt/web"
//	if err := filesystem.Format(ctx, device, filesystem.FormatOptions{}); err != nil {
//		return err
//	}
//	err := filesystem.Mount(ctx, device, target, filesystem.MountOptions{MakeTarget: true})
//	if err != nil {
//		return err
//	}
//	defer filesystem.Unmount(ctx, target, filesystem.UnmountOptions{})
package filesystem

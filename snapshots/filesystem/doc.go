// Package filesystem makes, mounts, grows, freezes and trims the ext4 and xfs
// file systems on thin volumes, and finds who keeps a volume in use. It is the
// only place that runs other programs for file systems.
//
// # Words
//
//   - A device is the path of a block device; a target is the folder that it is
//     mounted at. Both are absolute.
//   - A signature is what tells that a device holds something: a file system, a
//     partition table, another system's label.
//   - A holder is a mount namespace in which a device is mounted or its
//     processes use it. A container that was started while a volume was mounted
//     keeps its own copy of that mount, and with it the volume.
//
// # Caveats
//
// Every call is bound by its context, and by a bound of its own where the
// context has no deadline. The kernel does not let go of a call on a device that
// takes no IO (a thin pool that queues for space): such a call returns at the
// bound and goes on in the background; a [Mount] or [Freeze] that succeeds too
// late is undone. [Thaw] takes no context: what is frozen must be thawed
// whatever else has ended.
//
// System calls run on any thread of the process: a goroutine that locked its
// thread and moved it to another mount namespace is not followed.
//
// File systems are formatted without zeroing inode tables, which a thin volume
// has as zeros already. The kernel would write them after the first mount, and
// again in each snapshot (fs/ext4/super.c, ext4lazyinit): ext4 is therefore
// mounted with noinit_itable unless init_itable is asked for.
//
// A fresh ext4 has lost+found; removing it belongs to whoever makes base
// volumes.
//
// mkfs turns on what its own release deems usual. For kernels older than the
// tools, Args must turn features off (such as -m crc=0 for xfs on 3.10).
//
// [Holders] sees what /proc shows: not a mount namespace that only a thread, a
// bind mount or an open file keeps, not files that are mapped but closed, and
// not the kernel's own users, such as a swap area or another device's table.
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

// Package loopback creates the sparse files in which a thin pool stores its data and
// metadata, and attaches them to loop devices.
//
// # Words
//
// The backing file is the regular file behind a loop device. A device with a backing
// file is attached, a device without one is free. A FileID identifies a file; a path
// does not, because paths are renamed, bind-mounted and reused. The kernel detaches an
// autoclear device at its last close. A pool's devices are not autoclear: they outlive
// the process that attached them.
//
// # Caveats
//
//   - The package needs root, /dev/loop-control and sysfs.
//   - A file is attached at most once, because two devices would have a cache each. A
//     lock on the file makes the check and the attachment atomic between processes that
//     use this package. It does not lock out losetup(8).
//   - The kernel decides about direct IO: check Device.DirectIO. Without direct IO every
//     block is cached twice and a flush is slow.
//   - The logical block size follows from direct IO unless it is given. A file system
//     does not mount on a device with larger sectors than it was made for. So a pool
//     stores the size that it got and requests it again.
//   - After a file has grown, its device keeps the old size until Refresh.
//   - Loop devices exist until a reboot, even when they are free. They cost nothing and
//     are used again.
//   - On kernels before 5.8 an attachment takes several calls. A process that is killed
//     between them leaves a device without direct IO, which Reuse finds.
//
// A file is grown with Grow, then Refresh. It is detached with Detach.
package loopback

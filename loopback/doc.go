// Package loopback makes the sparse files that a thin pool keeps its data and
// metadata in, and puts loop devices on them.
//
// # Words
//
// The backing file is the regular file behind a loop device. A device with one
// is attached, the others are free. A file is known by its FileID, never by its
// path: paths are renamed, bind-mounted and reused. A loop device is autoclear
// if the kernel detaches it at its last close; a pool's are not, since they
// outlive the process that made them.
//
// # Caveats
//
//   - Needs root, /dev/loop-control and sysfs.
//   - A file is attached at most once: two devices would have a cache each. The
//     check and the attaching are one step between processes that use this
//     package (a lock on the file), not against losetup(8).
//   - Direct IO is granted by the kernel, not demanded: look at Device.DirectIO.
//     Without it every block is cached twice and a flush is slow.
//   - The logical block size follows from direct IO unless it is given. File
//     systems do not mount on a device with larger sectors than they were made
//     with, so a pool stores the size it got and asks for it again.
//   - A file that has grown does nothing for its device before Refresh.
//   - Loop devices that were once made stay, free, until a reboot. They cost
//     nothing and are used again.
//   - On kernels before 5.8 attaching takes several calls: a process killed
//     between them leaves a device without direct IO, which Reuse finds.
//
// # Example
//
//	err := loopback.CreateSparse("/var/lib/thinctl/p1/data", 100*units.GiB, loopback.FileOptions{})
//	...
//	loops := loopback.New(loopback.Options{})
//	data, err := loops.Attach(ctx, "/var/lib/thinctl/p1/data", loopback.AttachOptions{Reuse: true})
//	...
//	table := fmt.Sprintf("... %s ...", data.Number)
//
// To grow it: Grow, then Refresh. To be rid of it: Detach.
package loopback

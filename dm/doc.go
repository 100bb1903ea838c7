// Package dm drives the kernel's device mapper through its control node, in
// pure Go.
//
// # Words
//
// A device has a name, a uuid, a number and two slots for a table. Load fills the
// inactive slot, Resume makes that table live. A table is a list of targets, and
// each target serves a range of sectors. A thin-pool target stores data blocks on
// one device, the data device. On another, the metadata device, it records which
// thin volume owns each data block. A thin target is one such volume.
//
// udev creates a link to each device in /dev/mapper. A cookie is a semaphore that
// udev's rules decrement when they have handled a change. [Control] waits for that,
// unless the option NoUdevSync is set. The wait is also skipped if DM_DISABLE_UDEV is
// set, if no udevd runs in the process's IPC namespace, and after a wait has timed
// out. An own node is a device node in /dev/thinctl, which udev neither creates nor
// removes.
//
// # Caveats
//
// The kernel does not check that the origin of a snapshot is suspended or inactive.
// A caller that does not ensure this gets a corrupt snapshot. Status commits the
// pool's metadata unless StatusOptions.NoFlush is set. A pool that needs a check
// ignores a larger table without an error: compare its totals after each resize.
//
// [Control] implements [Kernel] with the real kernel. The tests also have a kernel in
// memory; one suite checks that both behave in the same way.
package dm

// Package main measures containerd's snapshots on thinctl beside its own
// devmapper and overlayfs snapshotters, through one containerd's gRPC, in one
// guest: Prepare, Mounts, Usage, Commit, View and Remove on chains of some
// depths, with some clients at once; the unpacking of an image; the start of many
// containers at once. "thinctl, direct" is thinctl's socket without containerd
// before it.
//
// The floor is the bare ioctls, with one fsync of 4 KiB for each change. What it
// does for each operation:
//
//	Prepare, View  fsync; create_snap of a device that nobody has open, and
//	               set_transaction_id; create, load and resume a device
//	Mounts         asks for the device
//	Usage          asks for the device's status
//	Commit         removes the device; fsync
//	Remove         removes the device of a view; fsync; delete. What was
//	               committed has no device
//
// It takes no lock but for the pool's messages, each of which is a commit of the
// pool's metadata; the fsyncs of clients at once are one file's, and the kernel
// puts them together. It makes no node for a device and looks into no file
// system, and nothing is written to its devices: all are copies of one empty ext4,
// whatever the depth. "floor, udev" is the same with the wait for udev that
// libdevmapper's programs have, after a device comes up and after it goes.
//
// Caveats: times compare within one run only. Devmapper's pool is made as its
// documentation has it, with thinctl's block size and low-water mark; it skips
// zeroing, and thinctl does not. What clients wait for each other is in their
// times. containerd itself removes nothing when Remove is called: its garbage
// collector does, afterwards. It is kept from running by itself, and asked for
// after each round: "Remove, collected" has both, for each of the snapshots of a
// round, and the Cleanup that waits until thinctl's blocks are back. Files are written to the first link of a chain and to each sixteenth;
// the others are prepared and committed.
//
// An image is unpacked as containerd's client does it, from content that is there
// already: for each layer Prepare, Apply of containerd's diff service, Commit. A
// thin volume's files are on the disk then, overlayfs' are in memory. A container
// is a busybox that sleeps, started as `ctr run -d` does it, without ctr's
// processes.
//
// run makes the image outside of the guest, where it takes seconds. What each turn
// has found goes to stderr at its end, the tables to stdout at the end of all.
//
//	tests/peers/containerd/run -depths 1,16,128 -clients 1,8,32
//	tests/peers/containerd/run -peers floor,thinctl,devmapper -depths 1 -clients 1 -unpacks 0 -crowd 0
//	go run ./tests/peers/containerd -from docs/performance.md -picture docs/pictures/containerd.svg
package main

// Command containerd compares containerd's snapshots on thinctl with its own
// devmapper and overlayfs snapshotters, through one containerd's gRPC, in one guest:
// Prepare, Mounts, Usage, Commit, View and Remove on chains of some depths, with some
// concurrent clients; unpacking an image; starting many containers concurrently.
// "thinctl, direct" is thinctl's socket without containerd in front of it.
//
// The floor is the bare ioctls, with one fsync of 4 KiB for each change. It does the
// following for each operation:
//
//	Prepare, View  fsync; create_snap of a device that no process has open, and
//	               set_transaction_id; create, load and resume a device
//	Mounts         requests the device
//	Usage          requests the device's status
//	Commit         removes the device; fsync
//	Remove         removes the device of a view; fsync; delete. A committed
//	               snapshot has no device
//
// It takes no lock but for the pool's messages, each of which commits the pool's
// metadata. The fsyncs of concurrent clients are of one file, and the kernel batches
// them. It makes no node for a device and reads no file system, and nothing is written
// to its devices: all are copies of one empty ext4, at any depth. "floor, udev" is the
// same with the wait for udev of libdevmapper's programs, after a device appears and
// after it is removed.
//
// Caveats: times compare within one run only. Devmapper's pool is made as its
// documentation describes, with thinctl's block size and low-water mark; it skips
// zeroing, and thinctl does not. Times include the waits of clients for each other.
// containerd itself removes nothing when Remove is called: its garbage collector does,
// afterwards. It is kept from running by itself, and requested after each round:
// "Remove, collected" has both, for each of the snapshots of a round, and the Cleanup
// that waits until thinctl's blocks are free. Files are written to the first link of
// a chain and to each sixteenth; the others are prepared and committed.
//
// An image is unpacked as containerd's client does it, from content that is already
// there: for each layer Prepare, Apply of containerd's diff service, Commit. A thin
// volume's files are then on the disk, overlayfs' are in memory. A container is a
// busybox that sleeps, started as `ctr run -d` does it, without ctr's processes.
//
// run makes the image outside of the guest, where it takes seconds. The result of each
// turn goes to stderr at its end, the tables to stdout at the end of all.
//
//	tests/peers/containerd/run -depths 1,16,128 -clients 1,8,32
//	tests/peers/containerd/run -peers floor,thinctl,devmapper -depths 1 -clients 1 -unpacks 0 -crowd 0
//	go run ./tests/peers/containerd -from docs/performance.md -picture docs/pictures/containerd.svg
package main

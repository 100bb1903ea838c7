// Package snapshots keeps trees of snapshots with file systems in a pool: each snapshot
// is a thin volume that began as a copy of its parent and shares its blocks. A
// [Snapshotter] implements containerd's snapshotter. The layers and containers of the
// command line are snapshots too.
//
// # Words
//
// The words are containerd's (core/snapshots). An active snapshot can be written, and a
// view can be read; both have a key. A committed snapshot has a name, is never written
// again, and can be the parent of others. Keys and names share one space. A namespace
// is the set of snapshots of one client. A pool can have several namespaces, which do
// not see each other: containerd's garbage collector removes every snapshot that is
// listed to it and that it has no record of. The command line has the namespace
// [Local].
//
//   - A template is an empty file system. It is formatted once for each type and size.
//   - A lease keeps objects while work is in progress, and may have a working volume. A
//     lock that ends with its process shows whether the lease is alive.
//   - A tree is what a volume shows when it is mounted.
//
// # Guarantees
//
// Each active and each committed snapshot is a thin volume with a document in the
// pool's database. One transaction creates both, and one removes both, so that a crash
// never leaves one without the other. A view is a document only: it shows the volume of
// its parent, on a read-only device that all views of the parent share. A snapshot
// without a parent is a copy of an empty file system that was formatted once. Prepare
// runs no program, and formats and mounts nothing, with three exceptions: the first use
// of a template formats it; a snapshot that is larger than its origin has its file
// system grown; and a commit after a reboot may replay the journal.
//
// To compare an active snapshot, [Pair.Read] reads a thin snapshot of it, which is taken
// while its file system is frozen. The snapshot's own device is never mounted a second
// time.
//
// A removal is one transaction too. The blocks are given back afterwards. If a process
// still has the device open, its blocks are given back after it is closed, by
// [Snapshotter.Cleanup] or the pool's next Reap. No call waits for that process.
//
// # Caveats
//
// Usage is what a snapshot has mapped beyond what it began with. Blocks that it shared
// and has overwritten do not count, unless [Options.Exclusive] reports them. containerd
// mounts the devices itself: on a full pool, xfs retries writes for as long as the
// kernel's default says.
//
// A client with documents of its own writes them in the transaction of the snapshot: see
// the fields With. It fills a committed snapshot in the working volume of a [Lease]: at
// the end the volume is suspended, which freezes its file system, and a snapshot of it
// is committed; or the volume itself is committed, unmounted and renamed. A killed
// process leaves complete snapshots and a working volume, which the next lease removes.
//
// # Example
//
//	snapshotter, err := snapshots.New(pool, filesystem.Local{}, snapshots.Options{Namespace: "k8s"})
//	if err != nil {
//		return err
//	}
//	defer snapshotter.Close()
//	if err := snapshotter.Recover(ctx); err != nil {
//		return err
//	}
//	mounts, err := snapshotter.Prepare(ctx, "extract", "")
//	if err != nil {
//		return err
//	}
//	... mount, fill, unmount ...
//	err = snapshotter.Commit(ctx, "base", "extract")
package snapshots

// Package containerd is containerd's snapshotter over the volumes of a pool.
//
// # Words
//
// The words are containerd's (core/snapshots). An active snapshot can be written, and a
// view can be read; both have a key. A committed snapshot has a name, is never written
// again, and can be the parent of others. Keys and names share one space. A namespace
// is the set of snapshots of one containerd. A pool can have several namespaces; they
// do not see each other, and they do not see what the command line makes. containerd's
// garbage collector removes every snapshot that is listed to it and that it has no
// record of.
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
// To compare an active snapshot, [Pair] reads a thin snapshot of it, which is taken
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
// # Example
//
//	snapshotter, err := containerd.New(pool, filesystem.Local{}, containerd.Options{Namespace: "k8s"})
//	if err != nil {
//		return err
//	}
//	defer snapshotter.Close()
//	if err := snapshotter.Recover(ctx); err != nil {
//		return err
//	}
//	listener, err := containerd.Listen("/run/thinctl/k8s.sock")
//	if err != nil {
//		return err
//	}
//	return containerd.Serve(ctx, listener, snapshotter, containerd.ServeOptions{})
package containerd

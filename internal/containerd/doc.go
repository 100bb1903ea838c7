// Package containerd serves the volumes of a pool to a containerd as its
// snapshotter.
//
// # Words
//
// containerd's own (core/snapshots): an active snapshot is being written, a view
// is read, and both go by a key; a committed one, which is never written again and
// goes by a name, may be the parent of others. Keys and names are of one space. A
// namespace is one containerd's set of snapshots: a pool may have several, which
// know nothing of each other, nor of what the command line makes. containerd's
// garbage collector removes every snapshot that it is shown and does not know.
//
// # What holds
//
// Each active and each committed snapshot is a thin volume, kept for "containerd",
// with a document in the pool's database. Both are made, and go, in one transaction
// of the pool, so that no instant of a crash leaves one without the other. A view
// is a document only: it shows its parent's volume, on a device that refuses to be
// written, which all views of that parent share. A snapshot without a parent
// is a copy of an empty file system that was formatted once: nothing is formatted
// or mounted to prepare one, and no program is run. The exceptions are a first
// use, which formats; a snapshot that was asked to be larger than what it began
// as, whose file system is grown; and a commit after a reboot, whose journal may
// have to be replayed.
//
// Compared, an active snapshot is read from a thin snapshot of it, taken while its file
// system is frozen ([Pair]). Its own device is never mounted a second time.
//
// Removing is one transaction too. The blocks come back afterwards: those that a
// stranger still has mounted when he leaves, with [Snapshotter.Cleanup] or the
// pool's next Reap. Nobody waits for him.
//
// # Caveats
//
// Usage is what a snapshot has mapped beyond what it began with, so that blocks
// which it shared and has overwritten do not count, unless [Options.Exclusive]
// knows better. containerd mounts what it gets by itself: an xfs in a full pool
// tries again for as long as that kernel's default says.
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

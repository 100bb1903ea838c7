// Package differ serves containerd's Diff service (containerd.services.diff.v1.Diff)
// for the snapshots of package containerd, as a proxy plugin of type diff.
//
// # Words
//
//   - Diff, which containerd's clients call Compare, writes the difference between the
//     mounts of two snapshots as a layer into containerd's content store, and returns
//     its descriptor. Apply extracts a layer into mounts.
//   - The walking differ is containerd's own. It mounts what it compares.
//
// # What holds
//
// The tree of a running container is what it was at one moment: a thin snapshot, taken
// while the file system was frozen. The walking differ of 2.x cannot compare it: it
// mounts the device read-only a second time, which the kernel refuses (EBUSY) while a
// container has it mounted for writing.
//
// Requests that are not for such snapshots, all of Apply, and media types other than
// the three of the OCI are declined as unimplemented, so that containerd's diff service
// takes the next differ of its list. They are declined without reading the pool, in
// any state of it.
//
// The layer is streamed: neither it nor a file is held in memory. What changed is
// found by a function of its own ([Changes]), which a faster one may replace; package
// layertar writes it.
//
// A process that is killed leaves the snapshot and the mounts to the next Recover of
// the snapshotter, an unfinished write to containerd, and at most a lease that expires.
//
// # Caveats
//
// containerd passes the namespace of its client on, and not the client's lease
// (core/diff/proxy, plugins/server/grpc/namespace.go). Without one in the request the
// layer is held by a lease of this package's own, which expires after an hour: until
// then the client has to make an image of it.
//
// A layer has more than the walking differ's: times to the nanosecond, user.* attributes
// and ACLs, and contents that changed without a change of size and modification time.
//
// # Example
//
//	d, err := differ.New(snapshotter, differ.Options{Containerd: "/run/containerd/containerd.sock"})
//	if err != nil {
//		return err
//	}
//	defer d.Close()
//	return containerd.Serve(ctx, listener, snapshotter, containerd.ServeOptions{Services: d.Register})
package differ

// Package differ serves containerd's Diff service (containerd.services.diff.v1.Diff)
// for the snapshots of package containerd, as a proxy plugin of type diff.
//
// # Words
//
//   - Diff, which containerd's clients call Compare, writes the difference between the
//     mounts of two snapshots as a layer into containerd's content store, and returns
//     its descriptor. Apply extracts a layer into mounts.
//   - The walking differ is containerd's own differ, which mounts both snapshots.
//
// # Guarantees
//
// The tree of a running container is compared in one consistent state: a thin snapshot,
// taken while the file system was frozen. The walking differ of containerd 2 cannot
// compare it, as it mounts the device read-only a second time. The kernel rejects that
// (EBUSY) while the device is mounted read-write for the container.
//
// The service answers as unimplemented: requests for other snapshots, a Diff with media
// types other than the three of the OCI, and an Apply of anything but a plain layer.
// containerd's diff service then takes the next differ of its list. These answers do not
// depend on the pool's state, except for an Apply to a view. An Apply is left to the next
// differ as well if containerd's own socket cannot be reached.
//
// The layer is streamed: neither the layer nor a file is held in memory. [Changes] finds
// the differences, and package layertar writes and extracts them.
//
// After the process was killed, the snapshotter's next Recover removes the temporary
// snapshot and the mounts. An unfinished write in containerd may remain, and a lease that
// expires. An unfinished Apply leaves a part of the layer in the snapshot, as the walking
// differ does.
//
// # Caveats
//
// containerd passes on the namespace of its client, but not the client's lease
// (core/diff/proxy, plugins/server/grpc/namespace.go). Without a lease in the request,
// a lease of this package keeps the layer for an hour. In this time the client must
// make an image of it.
//
// A layer has more contents than one of the walking differ: times to the nanosecond,
// user.* attributes and ACLs, and contents that changed without a change of size and
// modification time.
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

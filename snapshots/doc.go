// Package snapshots keeps the layers and containers of a pool: a tree of thin volumes
// with file systems, in which each volume is a snapshot of its parent and shares its
// blocks.
//
// # Words
//
//   - A template is an empty file system. It is formatted once for each type and size.
//   - A layer is the result of one step of an image: a volume that began as a snapshot
//     of its parent, or of a template, and is never written again.
//   - An init is a layer plus the mount points that a container's runtime needs. It is
//     made with the first container of the layer. The word is Docker's.
//   - A container is a writable snapshot of an init.
//   - A lease keeps layers while work is in progress, and may have a working volume. A
//     lock that ends with its process shows whether the lease is alive.
//   - A view is a volume that is mounted to be read.
//
// # How layers are made
//
// A [Chain] fills one working volume, which is mounted once. At the end of a layer the
// volume is suspended, which freezes its file system, and a snapshot of it becomes the
// layer; one transaction makes the snapshot and its document durable. The last layer is
// the working volume itself, unmounted and renamed. A killed process leaves complete
// layers and a working volume. The next lease removes that volume.
//
// # Guarantees
//
// All documents are in the pool's database. A document is written, and removed, in the
// transaction of its volume: after a crash at any instant both exist or neither
// ([Store.Check]). A removal repeats its plan inside its transaction. It never removes
// a layer that a lease, a container or another layer needs, or that the caller reports
// as needed.
//
// # Caveats
//
// Layers are mounted without replaying a journal (noload, norecovery). Their snapshots
// were taken frozen or unmounted, so there is nothing to replay. Templates and their
// inits stay after their last user is removed: they take a few blocks, and save
// formatting.
//
// # Example
//
//	layers := snapshots.New(pool, filesystem.Local{}, snapshots.Options{})
//	chain, err := layers.BeginChain(ctx, snapshots.ChainOptions{Layers: ids})
//	if err != nil {
//		return err
//	}
//	defer chain.Close()
//	for i, id := range ids[chain.Have():] { ... chain.Add(ctx, spec, fill) ... }
//	if err := chain.Finish(ctx, nil); err != nil {
//		return err
//	}
//	web, err := layers.CreateContainer(ctx, snapshots.ContainerOptions{Name: "web", Layer: ids[len(ids)-1]})
package snapshots

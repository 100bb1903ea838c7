// Package layers keeps the layers and containers of a pool: snapshots (package snapshots)
// with documents of their own.
//
// # Words
//
//   - A layer is the result of one step of an image: a committed
//     snapshot of its parent, or of a template.
//   - An init is a layer plus the mount points that a container's runtime needs. It is
//     made with the first container of the layer. The word is Docker's.
//   - A container is an active snapshot of an init.
//
// # How layers are made
//
// A [Chain] fills the working volume of one lease, which is mounted once, and commits a
// snapshot of it for each layer. The last layer is the working volume itself. A killed
// process leaves complete layers.
//
// # Guarantees
//
// A document is written, and removed, in the transaction of its snapshot: after a crash
// at any instant both exist or neither ([Store.Check]). A removal repeats its plan inside
// its transaction. It never removes a layer that a lease, a container or another layer
// needs, or that the caller reports as needed.
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
//	store := layers.New(pool, filesystem.Local{}, layers.Options{})
//	chain, err := store.BeginChain(ctx, layers.ChainOptions{Layers: ids})
//	if err != nil {
//		return err
//	}
//	defer chain.Close()
//	for i, id := range ids[chain.Have():] { ... chain.Add(ctx, spec, fill) ... }
//	if err := chain.Finish(ctx, nil); err != nil {
//		return err
//	}
//	web, err := store.CreateContainer(ctx, layers.ContainerOptions{Name: "web", Layer: ids[len(ids)-1]})
package layers

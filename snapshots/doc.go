// Package snapshots keeps the layers and containers of a pool: a tree of thin
// volumes with file systems, each a copy of the one below that shares its blocks.
//
// # Words
//
//   - A template is an empty file system, formatted once for its kind and size.
//   - A layer is what one step of an image changed: a volume that began as its
//     parent's copy, or a template's, and is never written again.
//   - An init is a layer with the stubs that a container's runtime mounts things
//     over. It is made when the first container of the layer is.
//   - A container is a copy of an init, to be written.
//   - A work is something under way. It holds layers, and may have a working
//     volume. A lock that dies with its process tells whether it is alive.
//   - A view is a volume mounted to be read.
//
// # How layers are made
//
// A [Chain] fills one working volume, mounted once. At a layer's end the volume
// is suspended, which freezes its file system, and the layer is a snapshot of it,
// durable with its document in one transaction. The last layer is the working
// volume itself, unmounted and renamed. A process that dies on the way leaves
// whole layers and a working volume; whoever begins the next work throws that
// away.
//
// # What holds
//
// All documents are in the pool's database. A document is written in the
// transaction of its volume, and goes with it: whatever instant a process or
// the power ends, both are there or neither ([Store.Check]). A removal plans
// again in its transaction: a layer that a work holds, that a container or a
// child stands on, or that the caller says is needed, is never removed.
//
// # Caveats
//
// Layers are read without replaying a journal (noload, norecovery). They were
// snapshotted frozen or unmounted, so that there is nothing to replay. Templates
// and their inits stay when their last user goes: they take some blocks, and save
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

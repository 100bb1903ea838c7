// Package images keeps container images in a pool: a config, names, and a chain
// of layers, each a thin volume.
//
// # Words
//
//   - An image's id is the digest of its config, by which Docker knows it too.
//   - A diff id is the digest of one layer's uncompressed tar. A chain id is that
//     of a layer with all below it, and by it layers are shared between images.
//   - A committed layer is a snapshot of a container. Its tar was never written,
//     so it has no diff id, and its image no id, until somebody asks: Digest, Save
//     and Push compute them and keep them. Until then the image goes by its key.
//   - A split is what of a layer's tar is not in its files: headers, order and
//     padding. With it the very same tar is written again.
//
// # How images are kept
//
// Images and names are documents in the pool's database. An image's documents are
// written last, in a transaction that finds all of its layers there: a load that
// dies leaves whole layers, and the next load goes on from them.
//
// # Caveats
//
// A layer's file tree also has the stubs that containers begin with where it was
// committed from a container; they are no part of its tar.
//
// # Example
//
//	store := images.New(layers, images.Options{})
//	file, err := archive.Open(ctx, "busybox.tar", archive.Options{})
//	if err != nil {
//		return err
//	}
//	defer file.Close()
//	for _, entry := range file.Images() {
//		if _, err := store.Load(ctx, entry.Image, images.LoadOptions{Names: entry.Names}); err != nil {
//			return err
//		}
//	}
package images

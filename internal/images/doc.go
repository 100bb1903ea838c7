// Package images keeps container images in a pool: a config, names, and a chain
// of layers, each a thin volume.
//
// # Words
//
//   - An image's id is the digest of its config, as in Docker.
//   - A diff id is the digest of one layer's uncompressed tar. A chain id is the digest
//     of a layer with all layers below it. Images share layers by chain ids.
//   - A committed layer is a snapshot of a container. It has no tar, and so no diff id,
//     and its image has no id. Digest, Save and Push compute and record them. Until then
//     the image is identified by its key.
//   - A split holds the parts of a layer's tar that are not in its files: headers, order
//     and padding. With it exactly the same tar can be written again.
//
// # How images are kept
//
// Images and names are documents in the pool's database. An image's documents are written
// last, in a transaction that finds all of its layers. A load that is killed leaves
// complete layers, and the next load continues after them.
//
// # Caveats
//
// The file tree of a committed layer also has the stubs that each container has. They are
// not part of the layer's tar.
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

// Package imagetest makes images for tests: always the same bytes for the same
// options, and with each the tree that must result, worked out in memory.
//
// Words: an Entry is a member of a layer's tar; a Layer is its entries in
// order; an Image is its layers and a config; Built is an image with its
// digests computed, which can be written as `docker save` or as an OCI layout.
// A Tree is what a file system shows: each path with type, mode, owner, size,
// time, extended attributes, target, device number, content and the names it
// shares an inode with. Image.Tree applies the layers in memory and ReadTree
// looks at a mounted root, so that a round trip is compared with neither
// thinctl's code nor a peer's.
//
// A Draft is an image as bytes, whose parts a test can change one by one: manifests
// that lie, tars that are cut, layers compressed in unusual ways.
//
// Caveats: a content's digest is not the plain SHA-256 of the file, but one in
// which blocks of zeros are counted, so that sparse files of gigabytes cost
// nothing. A tree has no root, whose times nobody keeps. Every layer lists the
// folders above what it changes, as builders do: else their times would be
// those of the unpacking. MB is 10^6 bytes here, as Docker printed it.
//
//	one, two := imagetest.Seeds(imagetest.SeedOptions{Scale: 16})
//	built, err := imagetest.Build(one)
//	...
//	err = imagetest.WriteDocker(file, built)
//	...
//	seen, err := imagetest.ReadTree(ctx, "/mnt")
//	want, err := one.Tree()
//	for _, difference := range want.Diff(seen, 20) {
//		t.Error(difference)
//	}
package imagetest

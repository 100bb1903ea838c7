// Package imagetest builds images for tests, always with the same bytes for the same
// options, and computes in memory the file tree of each image.
//
// Words: an Entry is a member of a layer's tar. A Layer is its entries in order, and an
// Image its layers and a config. Built is an image with its digests, which can be written
// as by `docker save` or as an OCI layout. A Tree is the contents of a file system: each
// path with type, mode, owner, size, time, extended attributes, target, device number,
// content, and the other names of its inode. Image.Tree applies the layers in memory, and
// ReadTree reads a mounted root. Thus a test compares a round trip without thinctl's code.
//
// A Draft is an image as bytes, of which a test can change any part: for wrong manifests,
// truncated tars, and unusual compressions of layers.
//
// Caveats: the digest of a content is not the SHA-256 of the file. Blocks of zeros are only
// counted, so that sparse files of gigabytes are fast. A tree does not contain the root,
// whose times are not kept. Each layer has entries for the directories above its changes,
// as image builders write them: otherwise these would have the time of the unpacking. MB
// is 10^6 bytes, as in Docker.
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

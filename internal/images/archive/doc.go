// Package archive reads and writes images as files: the archives of docker save, and OCI
// image layouts.
//
// # Words
//
//   - An archive of Docker has a manifest.json that names, for each image, the
//     entries of its config and layers. Since Docker 25 it is also an OCI layout.
//   - An OCI layout has an index.json, and blobs named by their digests. It is a
//     directory, or a tar of one.
//   - An entry is a file in the archive.
//
// # Caveats
//
// [Open] reads the index of the archive once. Layers can then be read in any order and
// concurrently. A compressed archive, or one from a pipe, is first written to an unnamed
// file in [Options.TempDir], which needs free space for the uncompressed archive.
//
// Names from an archive are never used as paths to write to: they are only looked up in
// the index. [Open] checks everything except the layers; their digests are verified while
// they are read (see package manifest). An archive must stay open while its images are
// used.
//
// An image that docker save wrote before Docker 25 has no manifest. This package makes one
// for its v1.Image; its digest is not the digest in any registry.
//
// # Example
//
//	a, err := archive.Open(ctx, "debian.tar", archive.Options{})
//	if err != nil {
//		return err
//	}
//	defer a.Close()
//	for _, entry := range a.Images() {
//		layers, err := entry.Image.Layers()
//		...
//	}
package archive

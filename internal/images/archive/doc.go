// Package archive reads and writes images as files: what docker save gives, and
// OCI image layouts.
//
// # Words
//
//   - An archive of Docker has a manifest.json that names, for each image, the
//     entries of its config and layers. Since Docker 25 the same file is an OCI
//     layout too.
//   - An OCI layout has an index.json, and blobs named by their digests. It is a
//     folder, or a tar of one.
//   - An entry is a file within the archive.
//
// # Caveats
//
// The archive is indexed once; thereafter any layer is read from its place, in
// any order and in parallel. What comes compressed as a whole or through a pipe
// is first written to a nameless file in [Options.TempDir], which needs room for
// the uncompressed archive.
//
// Nothing is ever written below a name from an archive: names are only looked up
// in the index. [Open] checks what can be checked without reading layers; their
// digests are checked while they are read (see package manifest). An archive
// must stay open while its images are used.
//
// An image of a docker save from before Docker 25 has no manifest. The one that
// its v1.Image shows is written here, and its digest is no registry's.
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

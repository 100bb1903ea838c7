// Package layertar applies layer tars to a directory tree and writes them from
// trees. It follows containerd's pkg/archive, with which the tests compare it.
//
// # Words
//
//   - A layer is a tar of what changed between two trees:
//     https://github.com/opencontainers/image-spec/blob/main/layer.md. An entry is
//     one file, folder, link or device in it.
//   - A whiteout is an entry that removes: ".wh.name" removes name beside it, an
//     opaque one, ".wh..wh..opq", all that lower layers have in its folder.
//   - The diff id is the digest of the uncompressed tar.
//   - A split is the tar without the files' contents. With the tree that the tar
//     was applied to it gives the same bytes again, and so the same diff id.
//
// # How a layer is applied
//
// Four goroutines share the work: one uncompresses the tar, one computes its
// digest, one reads and checks the entries and records the split, and one writes
// the tree. About 8 MiB are in progress between them. On a CPU without SHA
// instructions the digest alone takes a core.
//
// Names and symbolic links are resolved as if the root were the whole file system:
// an entry that goes through a link to /etc arrives in the root's own etc. Each
// call of the kernel takes a name in an open directory and follows no link. Names
// and hard links with ".." that lead out of the root are rejected. An absolute
// name, or an absolute target of a hard link, is below the root.
//
// An entry below what is no directory in a lower layer makes it one, as on
// overlayfs. Below a file of the same layer it is an error.
//
// Aligned 64 KiB of zeros in a file become holes: they are not written.
// Sparse entries of all of GNU tar's kinds become what they were, and only their
// data are read and written. A file with 4 GiB of holes or more is written as
// such an entry.
//
// # Caveats
//
// The tree must not be changed by others meanwhile.
//
// A file's access time is the entry's, unless the modification time is later.
// Folders that no entry names have the time of day. The root changes only by an
// entry of its own, and keeps its time without one.
//
// As in Docker and containerd, extended attributes that the file system does not
// know, and all in trusted., are left out without an error, and a folder that is
// there already keeps the extended attributes that its entry does not have. A
// layer can therefore not tell that a folder lost one.
//
// Contents that a later entry of the same layer replaces or removes are kept in
// the split, up to Limits.Kept: no tree has them. Entries of aufs's own are
// skipped, and hard links to the files in its .wh..wh.plnk become files.
//
// [Write] carries user.* attributes, ACLs and capabilities, and times to the
// nanosecond; Docker's own layers have only capabilities, and whole seconds.
//
// # Example
//
//	applied, err := layertar.Apply(ctx, root, blob, layertar.ApplyOptions{})
//	if err != nil {
//		return err
//	}
//	if applied.DiffID != wanted {
//		return fmt.Errorf("the layer is %s, not %s", applied.DiffID, wanted)
//	}
//	// Later, the same tar again:
//	err = layertar.Replay(ctx, root, applied.Split.Reader(), w, "")
package layertar

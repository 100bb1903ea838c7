// Package layertar applies layer tars to a directory tree and writes them from
// trees. It follows containerd's pkg/archive, with which the tests compare it.
//
// # Words
//
//   - A layer is a tar of the changes between two trees:
//     https://github.com/opencontainers/image-spec/blob/main/layer.md. An entry is
//     one file, directory, link or device in it.
//   - A whiteout is an entry that removes: ".wh.name" removes name in the same
//     directory. An opaque whiteout, ".wh..wh..opq", removes everything that lower
//     layers have in its directory.
//   - The diff id is the digest of the uncompressed tar.
//   - A split is the tar without the contents of files. Together with the tree that
//     the tar was applied to it gives the same bytes, and so the same diff id.
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
// system call takes a name in an open directory and follows no link. Names and hard
// links with ".." that lead out of the root are rejected. An absolute name, or an
// absolute target of a hard link, is below the root.
//
// If an entry needs a directory where a lower layer has a file, the file becomes a
// directory, as on overlayfs. A file of the same layer there is an error.
//
// Aligned 64 KiB of zeros in a file become holes: they are not written. Sparse
// entries of all of GNU tar's formats are restored, and only their data are read and
// written. A file with 4 GiB of holes or more is written as such an entry.
//
// # Caveats
//
// No other process may change the tree in the meantime.
//
// A file's access time is the entry's, unless the modification time is later.
// Directories without an entry have the current time. The root changes only by an
// entry of its own. Without one it keeps its time.
//
// As in Docker and containerd, extended attributes that the file system does not
// support, and all in trusted., are left out without an error. An existing directory
// keeps the extended attributes that its entry does not have, so that a layer cannot
// remove one from a directory.
//
// The split keeps contents that a later entry of the same layer replaces or removes,
// up to Limits.Kept, as no tree has them. Entries for aufs's own use are skipped. A
// hard link to a file in aufs's .wh..wh.plnk becomes a file.
//
// [Write] includes user.* attributes, ACLs and capabilities, and times to the
// nanosecond. Docker's own layers have only capabilities, and whole seconds.
//
// # Example
//
//	applied, err := layertar.Apply(ctx, root, blob, layertar.ApplyOptions{})
//	if err != nil {
//		return err
//	}
//	if applied.DiffID != wanted {
//		return fmt.Errorf("the layer has the diff id %s, not %s", applied.DiffID, wanted)
//	}
//	// Later, the same tar again:
//	err = layertar.Replay(ctx, root, applied.Split.Reader(), w, "")
package layertar

package layertar

import (
	"archive/tar"
	"math"
	"path"
	"strings"
)

// The reserved names of a layer:
// https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts
const (
	whiteout     = ".wh."
	whiteoutMeta = ".wh..wh."
	opaque       = ".wh..wh..opq"
	plinkDir     = ".wh..wh.plnk/" // aufs's directory of files with names in several branches
)

// role is the purpose of an entry.
type role int

const (
	roleFile     role = iota // is written into the tree
	roleWhiteout             // removes from the tree
	roleRoot                 // has the root's own metadata
	roleIgnored              // aufs's own entries, global pax headers
)

// check returns the role of an entry, or an error for one that must not be applied. It
// checks the name as it is in the tar. Cleaned names would hide those that lead out of
// the root.
func (l Limits) check(h *tar.Header) (role, error) {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return roleIgnored, nil
	}
	clean, err := l.inside(h.Name, "name")
	if err != nil {
		return 0, err
	}
	if err := l.numbers(h); err != nil {
		return 0, err
	}
	if err := l.kind(h); err != nil {
		return 0, err
	}
	if clean == "." {
		if h.Typeflag != tar.TypeDir {
			return 0, wrong(ErrFormat, "the root can only be a directory")
		}
		return roleRoot, nil
	}
	if strings.HasPrefix(clean, whiteoutMeta) && clean != opaque {
		return roleIgnored, nil
	}
	return whiteoutRole(clean)
}

func whiteoutRole(clean string) (role, error) {
	parents, base := path.Split(clean)
	if strings.HasPrefix(parents, whiteout) || strings.Contains(parents, "/"+whiteout) {
		return 0, wrong(ErrFormat, "inside a whiteout")
	}
	hidden, is := strings.CutPrefix(base, whiteout)
	if !is {
		return roleFile, nil
	}
	if hidden == "" || hidden == "." || hidden == ".." {
		return 0, wrong(ErrFormat, "the whiteout has no name to remove")
	}
	return roleWhiteout, nil
}

// inside returns a cleaned name, relative to the root. An absolute name is below the
// root, as in other programs for tars.
func (l Limits) inside(name, what string) (string, error) {
	switch {
	case name == "":
		return "", wrong(ErrFormat, "empty %s", what)
	case len(name) > l.Path:
		return "", overLimit("path", "a %s of %d bytes, but %d are allowed", what, len(name), l.Path)
	case strings.ContainsRune(name, 0):
		return "", wrong(ErrFormat, "NUL in the %s", what)
	}
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return "", wrong(ErrEscapes, "%s %q", what, name)
			}
		default:
			depth++
		}
	}
	return path.Clean(strings.TrimLeft(name, "/")), nil
}

// numbers rejects numbers that the kernel would truncate, and the owner -1, which chown
// takes for "do not change".
func (l Limits) numbers(h *tar.Header) error {
	switch {
	case h.Size < 0:
		return wrong(ErrFormat, "a size of %d", h.Size)
	case uint64(h.Size) > uint64(l.Bytes):
		return overLimit("bytes", "a size of %d bytes, but %s are allowed", h.Size, l.Bytes)
	case h.Uid < 0 || h.Uid >= math.MaxUint32:
		return wrong(ErrFormat, "user id %d", h.Uid)
	case h.Gid < 0 || h.Gid >= math.MaxUint32:
		return wrong(ErrFormat, "group id %d", h.Gid)
	case h.Mode < 0 || h.Mode > math.MaxUint32:
		return wrong(ErrFormat, "mode %o", h.Mode)
	}
	return nil
}

// kind checks the type of an entry and the fields for this type.
func (l Limits) kind(h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont, tar.TypeDir, tar.TypeFifo:
	case tar.TypeSymlink:
		// The target may be any path, as links are resolved inside the root.
		if h.Linkname == "" || len(h.Linkname) >= l.Path || strings.ContainsRune(h.Linkname, 0) {
			return wrong(ErrFormat, "a symbolic link's target of %d bytes", len(h.Linkname))
		}
	case tar.TypeLink:
		target, err := l.inside(h.Linkname, "hard link target")
		if err != nil {
			return err
		}
		if target == "." {
			return wrong(ErrFormat, "a hard link to the root")
		}
		if strings.HasPrefix(target, whiteoutMeta) && !strings.HasPrefix(target, plinkDir) {
			return wrong(ErrFormat, "a hard link into aufs's own %s", target)
		}
	case tar.TypeChar, tar.TypeBlock:
		// include/linux/kdev_t.h: 12 bits and 20 bits.
		if h.Devmajor < 0 || h.Devmajor >= 1<<12 || h.Devminor < 0 || h.Devminor >= 1<<20 {
			return wrong(ErrFormat, "device number %d:%d", h.Devmajor, h.Devminor)
		}
	default:
		return wrong(ErrFormat, "unknown type %q", h.Typeflag)
	}
	return nil
}

// hasContents reports whether an entry has contents (archive/tar, isHeaderOnlyType).
func hasContents(h *tar.Header) bool {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return h.Size > 0
	}
	return false
}

// isSparse reports whether the tar has only the data of a file, without its holes.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

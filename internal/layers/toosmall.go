package layers

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"thinctl/fault"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// tooSmall returns the error for a write that failed because the file system at target
// had no space: which limit was reached, and how to raise it. If the file system has
// free space, it rejected an attribute, and the Op of the fs.PathError in err names the
// call. below is the parent of the layer in progress.
func (s *Store) tooSmall(object, target string, kind filesystem.Type, size units.Bytes, below string, err error) error {
	var own *Error
	if !errors.Is(err, syscall.ENOSPC) || errors.As(err, &own) {
		return err
	}
	space, asked := s.files.Space(target)
	if asked != nil {
		return err
	}
	e := &Error{Op: "add", Object: object, Kind: ErrTooSmall, Err: err}
	cure := Cure{Code: CureLarger, Pool: s.pool.Name(), Size: 2 * size}
	if size < filesystem.MinXFS {
		cure.XFS = filesystem.MinXFS
	}
	var failed *fs.PathError
	switch {
	case space.Inodes > 0 && space.FreeInodes == 0:
		e.Detail = fmt.Sprintf("all %d inodes of the volume's %s %s are in use", space.Inodes, size, kind)
		if below == "" && kind == filesystem.Ext4 {
			cure.Code = CureLargerOrXFS
		}
	case kind == filesystem.Ext4 && space.Free >= space.Block && errors.As(err, &failed) &&
		strings.HasPrefix(failed.Op, "setxattr"):
		// fs/ext4/xattr.c: all attributes that do not fit into the inode share one
		// block, as long as the file system lacks the feature ea_inode.
		e.Kind = fault.Unsupported
		e.Detail = fmt.Sprintf("ext4 keeps the extended attributes of a file in one block, here of %s", space.Block)
		cure.Code = CureXFS
		if below != "" {
			cure.Code = CureXFSBelow
		}
	default:
		e.Detail = fmt.Sprintf("the volume's %s %s is full", size, kind)
	}
	e.Cure = cure
	return e
}

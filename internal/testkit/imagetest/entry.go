package imagetest

import (
	"archive/tar"
	"fmt"
	"io"
	"maps"
	"time"
)

// Entry is one member of a layer's tar.
type Entry struct {
	Path         string // relative, no slash at either end
	Type         byte   // tar.TypeReg, TypeDir, TypeLink, TypeSymlink, TypeChar, TypeBlock, TypeFifo
	Mode         uint32 // permissions, setuid 04000, setgid 02000, sticky 01000
	UID, GID     int
	Time         time.Time
	Link         string // of a symlink its target, of a hard link the path of the file in the same layer
	Major, Minor uint32
	Xattrs       map[string]string
	Content      Content
	GNUSparse    bool // the data alone are in the tar, in GNU's old format; Path up to 100 bytes
}

// Names with a meaning in a layer's tar.
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
)

func (e Entry) write(tw *tar.Writer, raw io.Writer) error {
	if e.GNUSparse {
		if err := tw.Flush(); err != nil {
			return err
		}
		return e.writeGNUSparse(raw)
	}
	h := tar.Header{
		Format: tar.FormatPAX, Typeflag: e.Type, Name: e.Path, Linkname: e.Link,
		Mode: int64(e.Mode), Uid: e.UID, Gid: e.GID, ModTime: e.Time,
		Devmajor: int64(e.Major), Devminor: int64(e.Minor),
	}
	if e.Type == tar.TypeDir {
		h.Name += "/"
	}
	if e.Type == tar.TypeReg {
		h.Size = e.Content.size()
	}
	if len(e.Xattrs) > 0 {
		h.PAXRecords = map[string]string{}
		for name, value := range maps.All(e.Xattrs) {
			h.PAXRecords["SCHILY.xattr."+name] = value
		}
	}
	if err := tw.WriteHeader(&h); err != nil {
		return fmt.Errorf("entry %q: %w", e.Path, err)
	}
	if e.Type != tar.TypeReg {
		return nil
	}
	if _, err := io.Copy(tw, e.Content.open()); err != nil {
		return fmt.Errorf("entry %q: %w", e.Path, err)
	}
	return nil
}

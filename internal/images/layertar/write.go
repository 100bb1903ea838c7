package layertar

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"thinctl/units"
)

// Kind is the way in which a path differs, with Docker's letters.
type Kind byte

// The kinds of changes.
const (
	Modified Kind = 'C'
	Added    Kind = 'A'
	Deleted  Kind = 'D'
)

// Changes calls visit once for each change, with paths such as "/a/b". A directory
// comes before its contents.
type Changes func(visit func(path string, kind Kind) error) error

// Written describes a layer that was written.
type Written struct {
	Size    units.Bytes // of the files, as in Applied
	Entries int
	TarSize int64 // bytes
}

// WriteOptions are the options of Write.
type WriteOptions struct {
	// Latest is the upper bound of modification times, as SOURCE_DATE_EPOCH asks for.
	// The zero value sets no bound.
	Latest time.Time
}

// Write writes changes as a layer: a whiteout for each removed path, and the
// other paths as they are in upper. The same tree and changes give the same bytes.
// If a written file has other names, which did not change, these are written too,
// as hard links: otherwise they would be separate files where the layer is
// applied. Sockets are left out.
func Write(ctx context.Context, upper string, changes Changes, w io.Writer, o WriteOptions) (Written, error) {
	return write(ctx, upper, w, o, func(l *layerWriter) error {
		if err := changes(l.visit); err != nil {
			return err
		}
		return l.otherNames()
	})
}

// WriteAll writes the contents of root, but no entry for root itself. As in docker export,
// names do not begin with "./".
func WriteAll(ctx context.Context, root string, w io.Writer) (Written, error) {
	return write(ctx, root, w, WriteOptions{}, func(l *layerWriter) error {
		return l.walk(func(at string, _ fs.DirEntry) error { return l.visit(at, Added) })
	})
}

func write(
	ctx context.Context, at string, w io.Writer, o WriteOptions, produce func(*layerWriter) error,
) (Written, error) {
	at, err := filepath.EvalSymlinks(at)
	if err != nil {
		return Written{}, err
	}
	root, err := os.OpenRoot(at)
	if err != nil {
		return Written{}, err
	}
	defer root.Close()
	group, inner := errgroup.WithContext(ctx)
	l := &layerWriter{
		ctx: inner, root: root, latest: o.Latest, entries: make(chan outEntry, queueLength),
		directories: map[string]bool{}, names: map[string]bool{}, linked: map[inode]*linkedFile{},
	}
	group.Go(func() error {
		defer close(l.entries)
		return produce(l)
	})
	count := &counter{w: w}
	out := &tarWriter{ctx: inner, root: root, tar: tar.NewWriter(count), w: count, buf: make([]byte, chunkSize)}
	group.Go(func() error { return out.run(l.entries) })
	if err := group.Wait(); err != nil {
		return Written{}, err
	}
	if err := out.tar.Close(); err != nil {
		return Written{}, err
	}
	out.written.TarSize = count.n
	return out.written, nil
}

// layerWriter writes the entries of a layer in the way of containerd's pkg/archive,
// ChangeWriter. It also writes extended attributes, and times to the nanosecond,
// and does not read holes. A [tarWriter] in another goroutine writes the tar.
type layerWriter struct {
	ctx     context.Context
	root    *os.Root
	latest  time.Time
	entries chan outEntry

	directories map[string]bool // written, by path
	names       map[string]bool // written, of files with several names
	linked      map[inode]*linkedFile
}

type inode struct{ dev, ino uint64 }

// linkedFile is a written file with several names.
type linkedFile struct {
	first string // its first name in the layer
	left  uint64 // names that are not yet written
}

// visit writes one change.
func (l *layerWriter) visit(at string, kind Kind) error {
	if err := l.ctx.Err(); err != nil {
		return context.Cause(l.ctx)
	}
	if at == "/" {
		return nil // a layer has no entry for the root
	}
	if err := l.change(at, kind); err != nil {
		return named(at, err)
	}
	return nil
}

func (l *layerWriter) change(at string, kind Kind) error {
	if strings.HasPrefix(path.Base(at), whiteout) {
		return wrong(ErrUnwritable, "the name is that of a whiteout; rename or remove the file")
	}
	if kind == Deleted {
		return l.whiteout(at)
	}
	info, err := l.root.Lstat(at[1:])
	if err != nil || info.Mode()&fs.ModeSocket != 0 {
		return err
	}
	return l.file(at, info)
}

// whiteout writes the entry that removes a path. Its time is 1970, as containerd's.
func (l *layerWriter) whiteout(at string) error {
	if err := l.parents(at); err != nil {
		return err
	}
	parent, base := path.Split(at)
	h := &tar.Header{
		Name: parent[1:] + whiteout + base, Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0), Format: tar.FormatPAX,
	}
	return l.put(outEntry{header: h})
}

// file writes an entry as it is in the tree, after the directories that it is in.
func (l *layerWriter) file(at string, info fs.FileInfo) error {
	h, err := l.header(at, info)
	if err != nil {
		return err
	}
	if err := l.parents(at); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		l.directories[at] = true
	}
	return l.put(outEntry{header: h, path: at})
}

func (l *layerWriter) put(e outEntry) error {
	select {
	case l.entries <- e:
		return nil
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	}
}

// parents writes the directories above a path, unless the layer has them already.
// Otherwise their owners and modes would be lost when the layer is unpacked into an empty
// directory.
func (l *layerWriter) parents(at string) error {
	parent := path.Dir(at)
	if parent == "/" || l.directories[parent] {
		return nil
	}
	info, err := l.root.Lstat(parent[1:])
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open directory", Path: parent, Err: unix.ENOTDIR}
	}
	if err == nil {
		err = l.file(parent, info)
	}
	return named(parent, err)
}

// header returns the header of an entry, without the size. The second name of a
// file becomes a hard link to the first.
func (l *layerWriter) header(at string, info fs.FileInfo) (*tar.Header, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	h := &tar.Header{
		Name: at[1:], Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: info.ModTime(), Format: tar.FormatPAX,
	}
	if !l.latest.IsZero() && h.ModTime.After(l.latest) {
		h.ModTime = l.latest
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		h.Typeflag = tar.TypeReg
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
	case unix.S_IFLNK:
		target, err := l.root.Readlink(at[1:])
		if err != nil {
			return nil, err
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, target
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
	if !info.IsDir() && st.Nlink > 1 {
		l.link(h, at, st)
	}
	return h, l.xattrs(h, at)
}

// link makes the header that of a hard link if the file has been written under
// another name.
func (l *layerWriter) link(h *tar.Header, at string, st *syscall.Stat_t) {
	key := inode{st.Dev, st.Ino}
	file := l.linked[key]
	if file == nil {
		file = &linkedFile{first: h.Name, left: st.Nlink}
		l.linked[key] = file
	} else {
		h.Typeflag, h.Linkname = tar.TypeLink, file.first
	}
	file.left--
	l.names[at] = true
}

func (l *layerWriter) xattrs(h *tar.Header, at string) error {
	found, err := xattrs(filepath.Join(l.root.Name(), at))
	if err != nil || len(found) == 0 {
		return err
	}
	h.PAXRecords = map[string]string{}
	for _, x := range found {
		if strings.Contains(x.name, "=") {
			return wrong(ErrUnwritable, "the extended attribute %q has a = in its name", x.name)
		}
		h.PAXRecords[xattrRecord+x.name] = x.value
	}
	return nil
}

// otherNames writes the names of written files that were not among the changes.
func (l *layerWriter) otherNames() error {
	missing := false
	for _, file := range l.linked {
		missing = missing || file.left > 0
	}
	if !missing {
		return nil
	}
	return l.walk(func(at string, d fs.DirEntry) error {
		if d.IsDir() || l.names[at] {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || st.Nlink < 2 || l.linked[inode{st.Dev, st.Ino}] == nil {
			return nil
		}
		return l.visit(at, Modified)
	})
}

// walk calls visit for each file in the tree, with paths such as "/a/b".
func (l *layerWriter) walk(visit func(at string, d fs.DirEntry) error) error {
	top := l.root.Name()
	return filepath.WalkDir(top, func(full string, d fs.DirEntry, err error) error {
		if err != nil || full == top {
			return err
		}
		return visit("/"+strings.TrimPrefix(full[len(top):], "/"), d)
	})
}

// named adds the entry's name to an error, unless it has one.
func named(at string, err error) error {
	var entry *EntryError
	if err == nil || errors.As(err, &entry) {
		return err
	}
	return &EntryError{Entry: at, Why: err}
}

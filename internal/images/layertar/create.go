package layertar

import (
	"archive/tar"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	xattrRecord = "SCHILY.xattr."
	capability  = "security.capability"
)

// create makes the file, directory, link or device of an entry. It replaces an existing
// one, but keeps a directory if the entry is a directory.
func (t *tree) create(e *entry) error {
	err := t.make(e.header)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if e.header.Typeflag == tar.TypeDir {
		if info, err := t.in.root.Lstat(t.base); err != nil || info.IsDir() {
			return err
		}
	}
	if err := t.remove(t.in.root, t.base, e.path); err != nil {
		return err
	}
	return t.make(e.header)
}

// make makes the file of an entry. It fails with fs.ErrExist if the name exists.
func (t *tree) make(h *tar.Header) (err error) {
	switch h.Typeflag {
	case tar.TypeDir:
		return t.in.root.Mkdir(t.base, 0o700)
	case tar.TypeSymlink:
		return t.in.root.Symlink(h.Linkname, t.base)
	case tar.TypeLink:
		return t.link(h.Linkname)
	case tar.TypeBlock:
		return t.mknod(h, unix.S_IFBLK)
	case tar.TypeChar:
		return t.mknod(h, unix.S_IFCHR)
	case tar.TypeFifo:
		return t.mknod(h, unix.S_IFIFO)
	}
	t.file, err = t.in.root.OpenFile(t.base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return err
}

func (t *tree) mknod(h *tar.Header, kind uint32) error {
	number := unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
	return t.failed("mknodat", unix.Mknodat(t.in.fd(), t.base, kind|0o600, int(number)))
}

// link makes a hard link. It does not follow a target that is a symbolic link.
func (t *tree) link(target string) (err error) {
	parent, base := path.Split(path.Clean("/" + target)[1:])
	from, err := t.dirs.find(strings.TrimSuffix(parent, "/"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.dirs.release(from)) }()
	if err := unix.Linkat(from.fd(), base, t.in.fd(), t.base, 0); err != nil {
		return &os.LinkError{Op: "linkat", Old: path.Join(from.path, base), New: t.path(), Err: err}
	}
	return nil
}

// finishFile completes a regular file after its contents.
func (t *tree) finishFile(e *entry) error {
	f := t.file
	t.file = nil
	err := func() error {
		if t.end < e.size {
			if err := f.Truncate(e.size); err != nil {
				return err
			}
		}
		if err := f.Chown(e.header.Uid, e.header.Gid); err != nil {
			return err
		}
		if err := t.setXattrs(e.header.PAXRecords); err != nil {
			return err
		}
		return f.Chmod(e.header.FileInfo().Mode())
	}()
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return t.in.setTimes(t.base, e.header)
}

// describe sets the owner, attributes, mode and times of an entry without contents. The
// owner comes first: chown clears capabilities and the set-user-ID bit.
func (t *tree) describe(e *entry) error {
	h := e.header
	records, isLink := h.PAXRecords, h.Typeflag == tar.TypeSymlink
	if h.Typeflag == tar.TypeLink {
		info, err := t.in.root.Lstat(t.base)
		if err != nil {
			return err
		}
		isLink = info.Mode()&fs.ModeSymlink != 0
		records = t.withCapability(records)
	}
	if err := t.in.root.Lchown(t.base, h.Uid, h.Gid); err != nil {
		return err
	}
	if err := t.setXattrs(records); err != nil {
		return err
	}
	if !isLink {
		if err := t.in.root.Chmod(t.base, h.FileInfo().Mode()); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeDir {
		t.directories = append(t.directories, e) // entries in it change its time
		return nil
	}
	return t.in.setTimes(t.base, h)
}

// withCapability adds the capabilities of the file that a hard link leads to. Not all
// programs repeat them in the header of the link.
func (t *tree) withCapability(records map[string]string) map[string]string {
	if _, has := records[xattrRecord+capability]; has {
		return records
	}
	var value [256]byte
	n, err := unix.Lgetxattr(t.in.procPath(t.base), capability, value[:])
	if err != nil || n == 0 {
		return records
	}
	all := map[string]string{xattrRecord + capability: string(value[:n])}
	maps.Copy(all, records)
	return all
}

// setXattrs sets extended attributes. It leaves out those in trusted., and those that
// the file system or the type of the file does not support.
func (t *tree) setXattrs(records map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(records)) {
		name, is := strings.CutPrefix(key, xattrRecord)
		if !is || strings.HasPrefix(name, "trusted.") {
			continue
		}
		value := records[key]
		err := unix.Lsetxattr(t.in.procPath(t.base), name, []byte(value), 0)
		switch {
		case err == nil, errors.Is(err, unix.ENOTSUP):
			continue
		case errors.Is(err, unix.EPERM) && strings.HasPrefix(name, "user."):
			// xattr(7): user attributes are for regular files and directories only.
			if info, serr := t.in.root.Lstat(t.base); serr == nil && !info.Mode().IsRegular() && !info.IsDir() {
				continue
			}
		}
		// Callers recognize this error by the first word of Op.
		return t.failed("setxattr "+name+" of "+strconv.Itoa(len(value))+" bytes", err)
	}
	return nil
}

// setDirectoryTimes sets the times of directories, after all entries in them were made.
func (t *tree) setDirectoryTimes() error {
	for _, e := range t.directories {
		if e.gone || t.applied[e.path] != e {
			continue
		}
		parent, base := path.Split(e.path)
		in, err := t.dirs.open(strings.TrimSuffix(parent, "/"))
		if err == nil {
			err = in.setTimes(base, e.header)
		}
		if err != nil {
			return &EntryError{Entry: e.name, Why: err}
		}
	}
	return nil
}

// setRoot sets the metadata of the root from its own entry. Without one it restores the
// time.
func (t *tree) setRoot(h *tar.Header) error {
	t.in, t.base = t.dirs.top, "."
	if h == nil {
		return t.in.setTimes(".", &tar.Header{ModTime: t.unchanged})
	}
	if err := t.in.root.Lchown(".", h.Uid, h.Gid); err != nil {
		return err
	}
	if err := t.setXattrs(h.PAXRecords); err != nil {
		return err
	}
	if err := t.in.root.Chmod(".", h.FileInfo().Mode()); err != nil {
		return err
	}
	return t.in.setTimes(".", h)
}

// setTimes sets the times of base, and does not follow a symbolic link. As in containerd,
// the access time is the entry's unless the modification time is later.
func (d *directory) setTimes(base string, h *tar.Header) error {
	accessed := h.ModTime
	if h.AccessTime.After(accessed) {
		accessed = h.AccessTime
	}
	times := []unix.Timespec{timespec(accessed), timespec(h.ModTime)}
	if err := unix.UtimesNanoAt(d.fd(), base, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimensat", Path: path.Join(d.path, base), Err: err}
	}
	return nil
}

func timespec(t time.Time) unix.Timespec {
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

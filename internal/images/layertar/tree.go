package layertar

import (
	"archive/tar"
	"errors"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/continuity/sysx"
	"golang.org/x/sys/unix"

	"thinctl/fault"
)

const (
	xattrRecord = "SCHILY.xattr."
	capability  = "security.capability"
)

// tree follows what containerd does to the root, and does beside it what
// containerd's Apply leaves out: it keeps contents that the split needs before
// they are removed, and sets times that would otherwise be lost.
type tree struct {
	root     string
	confined *os.Root
	queue    *queue
	oddities *oddities
	warn     fault.Warn

	present *entry
	parent  string            // the directory that replaceParents was at last
	applied map[string]*entry // by path relative to the root; never shrinks
	opaque  map[string]bool
	before  time.Time // the root's modification time
}

// convert is called for each entry once its parents exist, with the path that
// it goes to; symbolic links on the way are resolved inside the root.
func (t *tree) convert(h *tar.Header, full string) (bool, error) {
	if err := t.finish(); err != nil {
		return false, err
	}
	e := t.queue.at
	if path.Base(h.Name) != path.Base(e.clean) {
		return false, wrong(ErrFormat, "containerd reads the name as %q", h.Name)
	}
	rel, inside := strings.CutPrefix(full, strings.TrimSuffix(t.root, "/")+"/")
	if !inside {
		return false, wrong(ErrEscapes, "%q", full)
	}
	e.path, e.header = rel, h
	if e.role == roleWhiteout {
		return false, t.whiteout(full)
	}
	if info, err := os.Lstat(full); err == nil && (!info.IsDir() || h.Typeflag != tar.TypeDir) {
		if err := t.remove(full); err != nil {
			return false, err
		}
	}
	h.Mode &= 0o7777 // some writers add the type's bits, which may contradict it
	switch h.Typeflag {
	case tar.TypeCont:
		h.Typeflag = tar.TypeReg // POSIX: where it means nothing, a regular file
	case tar.TypeLink:
		h.Linkname = path.Clean("/" + h.Linkname)[1:]
		t.keepCapability(h)
	}
	e.mtime = h.ModTime
	t.present = e
	t.applied[rel] = e
	return true, nil
}

// finish does what is left to do for the entry that containerd has dealt with.
func (t *tree) finish() error {
	e := t.present
	if e == nil {
		return nil
	}
	t.present = nil
	if e.header.Typeflag == tar.TypeDir {
		// containerd sets folders' times at its end, by name: the name may lead
		// elsewhere by then, or nowhere. setTimes does it by path.
		e.header.Name = "."
	} else if e.mtime.Unix() < 0 || e.mtime.Unix() >= math.MaxInt64/int64(time.Second) {
		if err := setTime(filepath.Join(t.root, e.path), e.mtime); err != nil {
			return err
		}
	}
	for _, p := range e.parts {
		if e.path == e.clean {
			break
		}
		if err := t.oddities.place(p.position, e.path, p.offset); err != nil {
			return err
		}
	}
	return nil
}

// keepCapability lets a hard link's header bring the capabilities that its file
// has, which setting the owner takes away and which not all writers repeat.
func (t *tree) keepCapability(h *tar.Header) {
	if _, has := h.PAXRecords[xattrRecord+capability]; has {
		return
	}
	f, err := t.confined.OpenFile(h.Linkname, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return // containerd's own attempt says what is wrong
	}
	defer f.Close()
	value, err := sysx.Getxattr(procPath(f), capability)
	if err != nil || len(value) == 0 {
		return
	}
	if h.PAXRecords == nil {
		h.PAXRecords = map[string]string{}
	}
	h.PAXRecords[xattrRecord+capability] = string(value)
}

// whiteout does what archive.Apply does by itself without a convert function.
func (t *tree) whiteout(full string) error {
	dir, base := filepath.Split(full)
	dir = filepath.Clean(dir)
	if base != opaque {
		return t.remove(filepath.Join(dir, base[len(whiteout):]))
	}
	if t.opaque[dir] {
		return nil
	}
	t.opaque[dir] = true
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir || t.applied[t.relative(p)] != nil {
			return ignoreMissing(err)
		}
		if err := t.remove(p); err != nil {
			return err
		}
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
}

// remove takes away what is at full, and keeps contents that came with this
// very layer.
func (t *tree) remove(full string) error {
	err := filepath.WalkDir(full, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return ignoreMissing(err)
		}
		if e := t.applied[t.relative(p)]; e != nil && !e.gone {
			e.gone = true
			return t.keep(e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return os.RemoveAll(full)
}

// keptPiece is how much of kept contents a line of the split has.
const keptPiece = 1 << 20

func (t *tree) keep(e *entry) error {
	if len(e.parts) == 0 {
		return nil
	}
	f, err := t.confined.Open(e.path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range e.parts {
		if err := t.oddities.reserve(p.size); err != nil {
			return err
		}
		for at := int64(0); at < p.size; at += keptPiece {
			b := make([]byte, min(keptPiece, p.size-at))
			if _, err := f.ReadAt(b, p.offset+at); err != nil {
				return err
			}
			if err := t.oddities.keep(p.position, b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tree) relative(full string) string {
	return strings.TrimPrefix(full[len(t.root):], "/")
}

// setTimes gives folders their times, after all that was made in them.
func (t *tree) setTimes() error {
	for rel, e := range t.applied {
		if e.gone || e.header.Typeflag != tar.TypeDir {
			continue
		}
		if err := setTime(filepath.Join(t.root, rel), e.mtime); err != nil {
			return &EntryError{Entry: e.name, Why: err}
		}
	}
	return nil
}

// setRoot gives the root what its own entry says; without one it keeps its time.
func (t *tree) setRoot(h *tar.Header) error {
	if h == nil {
		return setTime(t.root, t.before)
	}
	if err := os.Chown(t.root, h.Uid, h.Gid); err != nil {
		return err
	}
	for key, value := range h.PAXRecords {
		name, is := strings.CutPrefix(key, xattrRecord)
		if !is || strings.HasPrefix(name, "trusted.") {
			continue
		}
		// As containerd does it: what the file system has no room for in
		// principle is left out.
		if err := unix.Setxattr(t.root, name, []byte(value), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			return attributeError(name, value, t.root, err)
		}
	}
	if err := os.Chmod(t.root, h.FileInfo().Mode()); err != nil {
		return err
	}
	return setTime(t.root, h.ModTime)
}

// setTime sets the modification time, of a symbolic link its own, and the same
// as access time: reading a layer's file says nothing.
func setTime(full string, t time.Time) error {
	ts := unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, full, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimensat", Path: full, Err: err}
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

package layertar

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/continuity/sysx"
	"golang.org/x/sys/unix"
)

type xattr struct{ name, value string }

// xattrs reads the extended attributes of a file, of a symbolic link its own,
// that belong in a layer.
func xattrs(full string) ([]xattr, error) {
	names, err := sysx.LListxattr(full)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []xattr
	for _, name := range names {
		if !isCarried(name) {
			continue
		}
		value, err := sysx.LGetxattr(full, name)
		if err != nil {
			return nil, err
		}
		found = append(found, xattr{name, string(value)})
	}
	return found, nil
}

// attribute explains an error of containerd's archive.Apply that is no more than
// an errno: it sets the entry's attributes again and names the one that fails in
// the same way.
func (t *tree) attribute(err error) error {
	e := t.present
	var named *fs.PathError
	if e == nil || e != t.queue.at || errors.As(err, &named) {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(e.header.PAXRecords)) {
		name, is := strings.CutPrefix(key, xattrRecord)
		if !is || strings.HasPrefix(name, "trusted.") {
			continue
		}
		value := e.header.PAXRecords[key]
		if again := unix.Lsetxattr(filepath.Join(t.root, e.path), name, []byte(value), 0); again != nil && errors.Is(err, again) {
			return attributeError(name, value, e.path, again)
		}
	}
	return err
}

// attributeError returns the error for an attribute that cannot be set. Its Op
// begins with "setxattr", by which callers recognise it.
func attributeError(name, value, path string, err error) error {
	return &fs.PathError{Op: fmt.Sprintf("setxattr %s of %d bytes", name, len(value)), Path: path, Err: err}
}

// openPlain opens a regular file for reading: a fifo does not block it, and a
// link out of the root is not followed.
func openPlain(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = wrong(ErrChanged, "it is %s", info.Mode())
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

func procPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

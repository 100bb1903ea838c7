package layertar

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links are followed in one name, as in containerd
// (continuity, fs/path.go, walkLink).
const maxLinks = 255

// directory is an open directory of the tree. Calls on its root or its handle take names
// directly in it and do not follow symbolic links, and so cannot leave the tree.
type directory struct {
	path   string // from the root of the tree, without symbolic links; "" is the root
	root   *os.Root
	handle *os.File // for calls that os.Root does not have
}

// openHandle opens the handle. Directories on the way to another one do not need it.
func (d *directory) openHandle() (err error) {
	if d.handle == nil {
		d.handle, err = d.root.OpenFile(".", unix.O_PATH|unix.O_DIRECTORY, 0)
	}
	return err
}

func (d *directory) close() error {
	err := d.root.Close()
	if d.handle != nil {
		err = errors.Join(err, d.handle.Close())
	}
	return err
}

func (d *directory) fd() int { return int(d.handle.Fd()) }

// procPath returns a path for a file in the directory, for calls without a directory
// descriptor. They must not follow symbolic links.
func (d *directory) procPath(base string) string {
	return "/proc/self/fd/" + strconv.Itoa(d.fd()) + "/" + base
}

// directories opens directories of the tree by the names in entries. It follows symbolic
// links as if the tree were the whole file system: a target such as /etc is below the
// root, and ".." stops there. os.Root rejects such links.
type directories struct {
	top *directory
	// replace removes a file where an entry needs a directory: the one at place, or if
	// this is a symbolic link, the file found that it leads to. It returns false if the
	// file must stay.
	replace func(place string, found *notDirectory) (bool, error)

	// The directory of the previous entry, which most entries have in common.
	name  string
	last  *directory
	stale bool // the name may lead to another directory now

	followed int
}

// notDirectory is the error for a file that a name leads through.
type notDirectory struct {
	path  string
	inner bool // a symbolic link leads through the file, not to it
}

func (e *notDirectory) Error() string {
	return (&fs.PathError{Op: "open directory", Path: e.path, Err: unix.ENOTDIR}).Error()
}

func (e *notDirectory) Unwrap() error { return unix.ENOTDIR }

// open returns the directory of a name, and makes missing directories. It remains open
// until the next call of open.
func (d *directories) open(name string) (*directory, error) {
	if d.stale {
		if err := d.forget(); err != nil {
			return nil, err
		}
	}
	from, rest := d.top, name
	if d.last != nil {
		if name == d.name {
			return d.last, nil
		}
		if below, is := strings.CutPrefix(name, d.name+"/"); is {
			from, rest = d.last, below
		}
	}
	if rest == "" {
		return d.top, nil
	}
	d.followed = 0
	opened, err := d.walk(from, rest, true, d.replace)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(opened.openHandle(), d.forget()); err != nil {
		return nil, errors.Join(err, d.release(opened))
	}
	if opened != d.top {
		d.name, d.last = name, opened
	}
	return opened, nil
}

// find returns the directory of a name if it exists. The caller closes it with
// release.
func (d *directories) find(name string) (*directory, error) {
	if d.last != nil && !d.stale && name == d.name {
		return d.last, nil
	}
	if name == "" {
		return d.top, nil
	}
	d.followed = 0
	found, err := d.walk(d.top, name, false, nil)
	if err == nil {
		err = found.openHandle()
	}
	return found, err
}

func (d *directories) release(found *directory) error {
	if found == d.top || found == d.last {
		return nil
	}
	return found.close()
}

// forget closes the directory of the previous entry.
func (d *directories) forget() error {
	d.stale = false
	if d.last == nil {
		return nil
	}
	last := d.last
	d.name, d.last = "", nil
	return last.close()
}

func (d *directories) close() error { return errors.Join(d.forget(), d.top.close()) }

// walk opens the directory of a name below from, and leaves from open.
func (d *directories) walk(
	from *directory, name string, makeMissing bool, replace func(string, *notDirectory) (bool, error),
) (*directory, error) {
	at := from
	parts := strings.Split(name, "/")
	for i, part := range parts {
		next, err := d.enter(at, part, makeMissing)
		var found *notDirectory
		if errors.As(err, &found) {
			replaced := false
			if replace == nil {
				found.inner = found.inner || i < len(parts)-1
			} else if replaced, err = replace(path.Join(at.path, part), found); replaced && err == nil {
				next, err = d.enter(at, part, makeMissing)
			} else if err == nil {
				err = found
			}
		}
		if at != from && at != d.top {
			err = errors.Join(err, at.close())
		}
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

// enter opens one part of a name in a directory.
func (d *directories) enter(in *directory, part string, makeMissing bool) (*directory, error) {
	info, err := in.root.Lstat(part)
	switch {
	case errors.Is(err, fs.ErrNotExist) && makeMissing:
		if err := errors.Join(in.root.Mkdir(part, 0o755), in.root.Chmod(part, 0o755)); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSymlink != 0:
		return d.follow(in, part, makeMissing)
	case !info.IsDir():
		return nil, &notDirectory{path: path.Join(in.path, part)}
	}
	root, err := in.root.OpenRoot(part)
	if err != nil {
		return nil, err
	}
	return &directory{path: path.Join(in.path, part), root: root}, nil
}

// follow opens the directory that a symbolic link leads to.
func (d *directories) follow(in *directory, part string, makeMissing bool) (*directory, error) {
	if d.followed++; d.followed > maxLinks {
		return nil, &fs.PathError{Op: "open directory", Path: path.Join(in.path, part), Err: unix.ELOOP}
	}
	target, err := in.root.Readlink(part)
	if err != nil {
		return nil, err
	}
	if !path.IsAbs(target) {
		target = path.Join("/", in.path, target)
	}
	if target = path.Clean(target); target == "/" {
		return d.top, nil
	}
	return d.walk(d.top, target[1:], makeMissing, nil)
}

// namesIn returns the sorted names in a directory.
func namesIn(root *os.Root) ([]string, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, errors.Join(err, f.Close())
}

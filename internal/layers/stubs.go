package layers

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
)

// stub is a file or directory that a container's runtime mounts over.
type stub struct {
	path string
	kind stubKind
	link string // of a link: where it points
}

type stubKind int

const (
	stubDir stubKind = iota
	stubFile
	stubLink
)

// stubs are those of Docker's init layer (daemon/initlayer/setup_unix.go).
func stubs() []stub {
	return []stub{
		{"/dev/pts", stubDir, ""},
		{"/dev/shm", stubDir, ""},
		{"/proc", stubDir, ""},
		{"/sys", stubDir, ""},
		{"/.dockerenv", stubFile, ""},
		{"/etc/resolv.conf", stubFile, ""},
		{"/etc/hosts", stubFile, ""},
		{"/etc/hostname", stubFile, ""},
		{"/dev/console", stubFile, ""},
		{"/etc/mtab", stubLink, "/proc/mounts"},
	}
}

// putStubs creates the stubs that an image lacks. It follows links as a process in the
// container would, and never leaves the image.
func putStubs(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, stub := range stubs() {
		if err := putStub(root, stub); err != nil && !errors.Is(err, errBlocked) {
			return fmt.Errorf("make %s: %w", stub.path, err)
		}
	}
	return nil
}

// errBlocked reports a file in the place of a directory of the path. The image stays as
// it is.
var errBlocked = errors.New("not a directory")

func putStub(root *os.Root, s stub) error {
	dir, err := makeDirs(root, path.Dir(s.path))
	if err != nil {
		return err
	}
	name := path.Join(dir, path.Base(s.path))
	if _, err := root.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		return err // it exists, or cannot be read
	}
	switch s.kind {
	case stubDir:
		return makeDir(root, name)
	case stubLink:
		return root.Symlink(s.link, name)
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o755), f.Close()) // whatever the umask
}

func makeDir(root *os.Root, name string) error {
	if err := root.Mkdir(name, 0o755); err != nil {
		return err
	}
	return root.Chmod(name, 0o755)
}

// makeDirs walks down an absolute path, creates missing directories, and returns where
// it ends, relative to root. [os.Root] rejects absolute links, which in an image begin
// at the image's root. They are resolved here, and root still rejects a path that
// leaves it.
func makeDirs(root *os.Root, dir string) (string, error) {
	const mostLinks = 40 // MAXSYMLINKS of Linux
	at, left, links := ".", split(dir), 0
	for len(left) > 0 {
		name := left[0]
		left = left[1:]
		if name == ".." {
			at = path.Dir(at) // "." stays ".", as / does
			continue
		}
		next := path.Join(at, name)
		info, err := root.Lstat(next)
		switch {
		case errors.Is(err, os.ErrNotExist):
			if err := makeDir(root, next); err != nil {
				return "", err
			}
			at = next
		case err != nil:
			return "", err
		case info.IsDir():
			at = next
		case info.Mode()&os.ModeSymlink != 0:
			if links++; links > mostLinks {
				return "", errBlocked
			}
			link, err := root.Readlink(next)
			if err != nil {
				return "", err
			}
			if path.IsAbs(link) {
				at = "."
			}
			left = append(split(link), left...)
		default:
			return "", errBlocked
		}
	}
	return at, nil
}

// split returns the names of a path, with .. unchanged.
func split(p string) []string {
	var names []string
	for name := range strings.SplitSeq(p, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}

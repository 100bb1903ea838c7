package snapshots

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
)

// stub is a place that a container's runtime mounts something over.
type stub struct {
	path string
	kind stubKind
	link string // of a link: where it points
}

type stubKind int

const (
	stubFolder stubKind = iota
	stubFile
	stubLink
)

// stubs are those of Docker's init layer (daemon/initlayer/setup_unix.go).
func stubs() []stub {
	return []stub{
		{"/dev/pts", stubFolder, ""},
		{"/dev/shm", stubFolder, ""},
		{"/proc", stubFolder, ""},
		{"/sys", stubFolder, ""},
		{"/.dockerenv", stubFile, ""},
		{"/etc/resolv.conf", stubFile, ""},
		{"/etc/hosts", stubFile, ""},
		{"/etc/hostname", stubFile, ""},
		{"/dev/console", stubFile, ""},
		{"/etc/mtab", stubLink, "/proc/mounts"},
	}
}

// putStubs makes the stubs that an image lacks. Links in the image are followed
// as a process in the container would, and never lead out of it.
func putStubs(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, stub := range stubs() {
		if err := putStub(root, stub); err != nil && !errors.Is(err, errBlocked) {
			return fmt.Errorf("making %s: %w", stub.path, err)
		}
	}
	return nil
}

// errBlocked: something that is no folder stands in a path's way. Then the image
// wants it so.
var errBlocked = errors.New("not a folder")

func putStub(root *os.Root, s stub) error {
	folder, err := makeFolders(root, path.Dir(s.path))
	if err != nil {
		return err
	}
	name := path.Join(folder, path.Base(s.path))
	if _, err := root.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		return err // it is there, or cannot be looked at
	}
	switch s.kind {
	case stubFolder:
		return makeFolder(root, name)
	case stubLink:
		return root.Symlink(s.link, name)
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o755), f.Close()) // whatever the umask
}

func makeFolder(root *os.Root, name string) error {
	if err := root.Mkdir(name, 0o755); err != nil {
		return err
	}
	return root.Chmod(name, 0o755)
}

// makeFolders walks down an absolute path, making what is missing, and returns
// where it has arrived, relative to root. [os.Root] refuses absolute links, which
// in an image begin at its own root; so links are resolved here, and root still
// refuses whatever would leave it.
func makeFolders(root *os.Root, dir string) (string, error) {
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
			if err := makeFolder(root, next); err != nil {
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

// split cuts a path into its names; .. stays.
func split(p string) []string {
	var names []string
	for name := range strings.SplitSeq(p, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}

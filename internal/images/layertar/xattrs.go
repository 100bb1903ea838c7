package layertar

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/containerd/continuity/sysx"
	"golang.org/x/sys/unix"
)

type xattr struct{ name, value string }

// xattrs returns the extended attributes of a file that belong in a layer. It does not
// follow a symbolic link.
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

// openPlain opens a regular file for reading. A pipe does not block it, and a link out
// of the root is an error.
func openPlain(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = wrong(ErrChanged, "the file is %s", info.Mode())
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// carried lists the extended attributes that belong to an image, in addition to those in
// user. The others are labels and signatures of the host, or for its administrator.
var carried = []string{capability, "system.posix_acl_access", "system.posix_acl_default"}

func isCarried(name string) bool {
	return strings.HasPrefix(name, "user.") || slices.Contains(carried, name)
}

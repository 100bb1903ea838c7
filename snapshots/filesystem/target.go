package filesystem

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// checkPath keeps out what a program would take for an option, and what would
// change its meaning with the current folder.
func checkPath(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return invalid("the path must be absolute and plain, without . and ..")
	}
	return nil
}

// openMount opens the root of the file system that is mounted at target. The
// check is on the open file: freezing a target that is not mounted would freeze
// the host's own file system.
func openMount(target string) (*os.File, error) {
	if err := checkPath(target); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(target, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	mounted, err := isMountRoot(int(f.Fd()))
	if err == nil && !mounted {
		err = &Error{Kind: ErrNotMounted, Detail: "nothing is mounted there"}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// isMountRoot compares the folder's device with its parent's. Bind mounts
// inside one file system are not seen so, and are not meant.
func isMountRoot(dir int) (bool, error) {
	var own, parent unix.Stat_t
	if err := unix.Fstat(dir, &own); err != nil {
		return false, fmt.Errorf("looking at the folder: %w", err)
	}
	if err := unix.Fstatat(dir, "..", &parent, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, fmt.Errorf("looking at the folder above: %w", err)
	}
	return own.Dev != parent.Dev, nil
}

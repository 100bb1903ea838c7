package filesystem

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// checkPath rejects paths that a program could take for an option, and relative
// paths.
func checkPath(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return invalid("the path must be absolute, without . and .. in it")
	}
	return nil
}

// openMount opens the root of the file system that is mounted at target. It checks
// the open file: to freeze a target where nothing is mounted would freeze the file
// system of the host.
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
		err = &Error{Kind: ErrNotMounted, Detail: "nothing is mounted at the target"}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// isMountRoot compares the device of a directory with that of its parent. It does not
// recognize bind mounts inside one file system, which this package does not make.
func isMountRoot(dir int) (bool, error) {
	var own, parent unix.Stat_t
	if err := unix.Fstat(dir, &own); err != nil {
		return false, fmt.Errorf("stat the directory: %w", err)
	}
	if err := unix.Fstatat(dir, "..", &parent, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, fmt.Errorf("stat the parent directory: %w", err)
	}
	return own.Dev != parent.Dev, nil
}

package dm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"thinctl/blockdev"

	"golang.org/x/sys/unix"
)

// ensureNode makes <dir>/<name> a block node of dev unless it leads there already,
// as udev's link does.
func ensureNode(dir string, name Name, dev blockdev.Number) error {
	path := filepath.Join(dir, mangle(string(name)))
	if got, err := blockDev(path); err == nil && got == dev {
		return nil
	}
	// Made aside and renamed: whoever opens the path sees the old device or the new.
	temporary := filepath.Join(dir, fmt.Sprintf(".thinctl-%d-%d-%d", os.Getpid(), dev.Major, dev.Minor))
	err := makeNode(temporary, dev)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o755); err == nil {
			err = makeNode(temporary, dev)
		}
	}
	if err != nil {
		return fmt.Errorf("making the node %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		if got, gone := blockDev(path); gone == nil && got == dev {
			return nil // another thread has made it, out of the same one
		}
		return fmt.Errorf("making the node %s: %w", path, errors.Join(err, os.Remove(temporary)))
	}
	return nil
}

func makeNode(path string, dev blockdev.Number) error {
	err := unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(dev.Major, dev.Minor)))
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// removeNodes removes both nodes of a device that is gone.
func (c *Control) removeNodes(info Info) error {
	return errors.Join(removeNode(ownDir, info.Name, info.Dev), removeNode(c.options.Dir, info.Name, info.Dev))
}

// removeNode removes the device's node unless another device stands there by
// now: names are reused.
func removeNode(dir string, name Name, dev blockdev.Number) error {
	path := filepath.Join(dir, mangle(string(name)))
	got, err := blockDev(path)
	switch {
	case err == nil && got != dev:
		return nil
	case err == nil || errors.Is(err, fs.ErrNotExist):
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the node %s: %w", path, err)
		}
		return nil
	}
	return fmt.Errorf("removing the node %s: %w", path, err)
}

func blockDev(path string) (blockdev.Number, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return blockdev.Number{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return blockdev.Number{}, fmt.Errorf("%s is not a block device", path)
	}
	return blockdev.NumberOf(st.Rdev), nil
}

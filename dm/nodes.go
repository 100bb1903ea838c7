package dm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
)

// ensureNode creates the block node <dir>/<name> for dev, unless the path leads to
// dev already, as udev's link does.
func ensureNode(dir string, name Name, dev blockdev.Number) error {
	path := filepath.Join(dir, mangle(string(name)))
	if got, err := nodeNumber(path); err == nil && got == dev {
		return nil
	}
	// The rename is atomic: a process that opens path gets the old device or the new.
	temporary := filepath.Join(dir, fmt.Sprintf(".thinctl-%d-%d-%d", os.Getpid(), dev.Major, dev.Minor))
	err := makeNode(temporary, dev)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o755); err == nil {
			err = makeNode(temporary, dev)
		}
	}
	if err != nil {
		return fmt.Errorf("create node %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		if got, err := nodeNumber(path); err == nil && got == dev {
			return nil // another goroutine has renamed the same temporary node
		}
		return fmt.Errorf("create node %s: %w", path, errors.Join(err, os.Remove(temporary)))
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

// removeNodes removes both nodes of a removed device.
func (c *Control) removeNodes(info Info) error {
	return errors.Join(removeNode(ownNodeDir, info.Name, info.Dev), removeNode(c.options.Dir, info.Name, info.Dev))
}

// removeNode removes the node of a removed device, unless a new device with the
// same name already has it.
func removeNode(dir string, name Name, dev blockdev.Number) error {
	path := filepath.Join(dir, mangle(string(name)))
	got, err := nodeNumber(path)
	switch {
	case err == nil && got != dev:
		return nil
	case err == nil || errors.Is(err, fs.ErrNotExist):
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove node %s: %w", path, err)
		}
		return nil
	}
	return fmt.Errorf("remove node %s: %w", path, err)
}

// nodeNumber returns the number of the block device that path leads to.
func nodeNumber(path string) (blockdev.Number, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return blockdev.Number{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return blockdev.Number{}, fmt.Errorf("%s is not a block device", path)
	}
	return blockdev.NumberOf(st.Rdev), nil
}

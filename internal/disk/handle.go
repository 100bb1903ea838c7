package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/units"
)

// Handle is a block device or regular file that is held open. The kernel does not give
// its device number to another device in the meantime: what was read through the handle
// is true of the number, even if the path leads elsewhere later.
type Handle struct {
	Device // a regular file has only Path and Size
	file   *os.File
}

// Open opens a block device or regular file for reading.
func (h Host) Open(path string) (*Handle, error) {
	// Check the type first, since opening a pipe or a terminal has effects.
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if format := st.Mode & unix.S_IFMT; format != unix.S_IFBLK && format != unix.S_IFREG {
		return nil, fmt.Errorf("%s is neither a block device nor a regular file", path)
	}
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	handle, err := h.hold(file, path)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return handle, nil
}

func (h Host) hold(file *os.File, path string) (*Handle, error) {
	handle := &Handle{Device: Device{Path: path}, file: file}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		handle.Size = units.Bytes(st.Size)
		return handle, nil
	case unix.S_IFBLK:
		handle.Number = blockdev.NumberOf(st.Rdev)
		if handle.Size, err = size(file); err != nil {
			return nil, err
		}
		handle.Identity, err = h.Identity(handle.Number)
		return handle, err
	}
	return nil, fmt.Errorf("%s is neither a block device nor a regular file", path)
}

// About returns the description of the device or file from when it was opened.
func (h *Handle) About() Device { return h.Device }

// ReadAt implements io.ReaderAt.
func (h *Handle) ReadAt(b []byte, offset int64) (int, error) { return h.file.ReadAt(b, offset) }

// Close closes the device or file.
func (h *Handle) Close() error { return h.file.Close() }

// Write writes to the device or file durably. A file that is too short grows.
func (h *Handle) Write(b []byte, offset units.Bytes) error {
	// Open it through the descriptor: the path may lead elsewhere now.
	file, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", h.file.Fd()), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("write %s: %w", h.Path, err)
	}
	_, err = file.WriteAt(b, int64(offset))
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// IsAt reports whether a path leads to the device or file.
func (h *Handle) IsAt(path string) (bool, error) {
	there, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	held, err := h.file.Stat()
	if err != nil {
		return false, err
	}
	if held.Mode().IsRegular() {
		return os.SameFile(held, there), nil
	}
	number, err := numberOf(path)
	return err == nil && number == h.Number, err
}

// Inode returns the file system's device number and the inode number of the file.
func (h *Handle) Inode() (device, inode uint64, err error) {
	var st unix.Stat_t
	err = unix.Fstat(int(h.file.Fd()), &st)
	return uint64(st.Dev), st.Ino, err
}

// numberOf returns the number of the block device that a path leads to.
func numberOf(path string) (blockdev.Number, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return blockdev.Number{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return blockdev.Number{}, fmt.Errorf("%s is not a block device", path)
	}
	return blockdev.NumberOf(st.Rdev), nil
}

// IdentityAt reads the identity of the block device that a path leads to,
// without opening it.
func (h Host) IdentityAt(path string) (Identity, error) {
	number, err := numberOf(path)
	if err != nil {
		return Identity{}, err
	}
	return h.Identity(number)
}

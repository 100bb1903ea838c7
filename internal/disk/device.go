package disk

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/units"
)

// Device is a block device.
type Device struct {
	blockdev.Number
	Path     string
	Size     units.Bytes
	Busy     bool // as Describe finds it
	Identity Identity
	// As Devices lists them:
	Below     []blockdev.Number // the devices that it stands on
	Suspended bool              // by device mapper; reading it waits without a bound
	Err       error             // why not all of it could be read
}

// Describe looks at a block device without changing it.
func Describe(path string) (Device, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Device{}, fmt.Errorf("%s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return Device{}, fmt.Errorf("%s is not a block device", path)
	}
	d := Device{Number: blockdev.NumberOf(st.Rdev), Path: path}
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		d.Busy = true
		file, err = os.OpenFile(path, os.O_RDONLY, 0)
	}
	if err != nil {
		return Device{}, err
	}
	defer file.Close()
	d.Size, err = size(file)
	return d, err
}

func size(file *os.File) (units.Bytes, error) {
	bytes, err := blockdev.Size(file)
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", file.Name(), err)
	}
	return bytes, nil
}

// Discard tells a block device that a range is not needed any more. The call
// into the kernel cannot be interrupted: callers pass ranges of bounded length.
func Discard(ctx context.Context, path string, offset, length units.Bytes) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := blockdev.Discard(file, offset, length); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("discarding %s at %s of %s: %w", length, offset, path, err)
	}
	return nil
}

// Flush makes durable what was written to a block device, its own cache
// included.
func Flush(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// Wipe writes zeroes over a range of a file or block device.
func Wipe(path string, offset, length units.Bytes) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.WriteAt(make([]byte, length), int64(offset)); err != nil {
		return fmt.Errorf("wiping %s: %w", path, err)
	}
	return file.Sync()
}

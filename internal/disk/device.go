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
	Busy     bool // set by Describe
	Identity Identity
	// Set by Devices:
	Below     []blockdev.Number // the devices that it is built on
	Suspended bool              // by device mapper; a read blocks until it is resumed
	Err       error             // why some of the fields could not be read
}

// Describe reads a block device's number and size, and whether it is busy.
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

// Discard discards a range of a block device, if the device supports that. The system
// call cannot be interrupted, so callers pass ranges of bounded length.
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
		return fmt.Errorf("discard %s at %s of %s: %w", length, offset, path, err)
	}
	return nil
}

// Flush makes all writes to a block device durable; it flushes the device's own cache,
// too.
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
		return fmt.Errorf("wipe %s: %w", path, err)
	}
	return file.Sync()
}

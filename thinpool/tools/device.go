package tools

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"thinctl/units"
)

// usable returns path as the tools may have it: absolute, so that it cannot be
// taken for an option, and of a device that nobody claims. The kernel answers
// O_EXCL on a claimed block device with EBUSY (block/bdev.c,
// bd_prepare_to_claim).
func usable(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	how := os.O_RDONLY
	switch kind := info.Mode() & (os.ModeType | os.ModeCharDevice); kind {
	case 0:
	case os.ModeDevice:
		how |= syscall.O_EXCL
	default:
		return "", fmt.Errorf("%s is neither a block device nor a regular file", path)
	}
	f, err := os.OpenFile(path, how, 0)
	if errors.Is(err, syscall.EBUSY) {
		return "", fmt.Errorf("%w: %w", ErrBusy, err)
	}
	if err != nil {
		return "", err
	}
	return path, f.Close()
}

// sameDevice tells two paths of one file, or two nodes of one block device.
func sameDevice(a, b string) (bool, error) {
	var first, second syscall.Stat_t
	if err := syscall.Stat(a, &first); err != nil {
		return false, fmt.Errorf("looking at %s: %w", a, err)
	}
	if err := syscall.Stat(b, &second); err != nil {
		return false, fmt.Errorf("looking at %s: %w", b, err)
	}
	same := first.Dev == second.Dev && first.Ino == second.Ino
	return same || first.Rdev != 0 && first.Rdev == second.Rdev, nil
}

func sizeOf(path string) (units.Bytes, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("finding the size of %s: %w", path, err)
	}
	return units.Bytes(size), nil
}

// isZero reports whether the first 4 KiB are zero, which is how the kernel
// tells an unused metadata device (dm-thin-metadata.c, __superblock_all_zeroes).
func isZero(r io.Reader) (bool, error) {
	b := make([]byte, 4*units.KiB)
	if _, err := io.ReadFull(r, b); err != nil {
		return false, err
	}
	for _, c := range b {
		if c != 0 {
			return false, nil
		}
	}
	return true, nil
}

// Package blockdev has the device number of a block device, and the ioctls for which
// golang.org/x/sys has no function: their arguments have 64 bits on every architecture.
package blockdev

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"thinctl/units"
)

// Size returns a device's size (BLKGETSIZE64, block/ioctl.c).
func Size(device *os.File) (units.Bytes, error) {
	var size uint64
	err := ioctl(device, unix.BLKGETSIZE64, unsafe.Pointer(&size))
	return units.Bytes(size), err
}

// Discard discards a range of a device (BLKDISCARD, block/ioctl.c). The error of a device
// without discards is EOPNOTSUPP. The call cannot be interrupted, so callers limit the
// range.
func Discard(device *os.File, offset, length units.Bytes) error {
	span := [2]uint64{uint64(offset), uint64(length)}
	return ioctl(device, unix.BLKDISCARD, unsafe.Pointer(&span))
}

func ioctl(device *os.File, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, device.Fd(), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}

package loopback

import (
	"context"
	"fmt"

	"thinctl/blockdev"
	"thinctl/fault"
	"thinctl/units"
)

// Loops attaches files to loop devices. Control implements it with the kernel, and
// the tests with loop devices in memory.
type Loops interface {
	// Attach attaches a regular file to a free loop device. The device outlives the
	// process, unless AttachOptions.Autoclear is set.
	Attach(ctx context.Context, file string, o AttachOptions) (Device, error)

	// Find returns the devices whose backing file this is. It compares inodes, so a
	// renamed or bind-mounted path finds the same devices. If the file does not exist,
	// Find returns the devices whose file was deleted under this name.
	Find(ctx context.Context, file string) ([]Device, error)

	// Info reads a device's state from the kernel.
	Info(ctx context.Context, d Device) (Info, error)

	// Refresh sets the device's size to its file's present size, and returns it.
	Refresh(ctx context.Context, d Device) (units.Bytes, error)

	// Detach detaches the file and returns when the device is free. If the device
	// stays open until the time limit, the error is fault.Busy. If it has another
	// file, the error is ErrForeign. In both cases the device is unchanged.
	Detach(ctx context.Context, d Device) error
}

// FileID identifies a file: the device number of its file system and its inode, as
// stat(2) and LOOP_GET_STATUS64 return them.
type FileID struct {
	Device uint64
	Inode  uint64
}

// Device is a loop device with its backing file. It is a plain value that callers may
// compare and store. Each operation compares Backing with the device's present file,
// and returns ErrForeign if they differ.
type Device struct {
	Path    string // /dev/loop3
	Number  blockdev.Number
	File    string // path of the backing file, from the caller or from the kernel
	Backing FileID

	DirectIO bool // whether the kernel granted direct IO
	ReadOnly bool
}

// AttachOptions changes how a file is attached. The zero value is a read-write device
// that outlives the process, with direct IO if the file supports it.
type AttachOptions struct {
	ReadOnly bool

	// Buffered attaches without direct IO.
	Buffered bool

	// SectorSize is the device's logical block size: a power of two from 512 to the
	// page size. Zero stands for the size that direct IO on the file requires, or 512.
	// A pool should store the size that it got and request it again, because file
	// systems do not mount on a device with larger sectors.
	SectorSize units.Bytes

	// Autoclear makes the kernel detach the device at its last close. The Control
	// that attached it keeps it open until Close or the end of the process.
	Autoclear bool

	// Reuse returns the device to which the file is already attached, if there is one.
	// The device must start at offset 0, without a size limit, and have the requested
	// ReadOnly and SectorSize. Reuse changes its autoclear flag, but not direct IO.
	Reuse bool
}

// Info holds the state of a device.
type Info struct {
	Device Device

	// BackingPath is the present path of the file, as seen from this mount namespace.
	// The path of a deleted file ends in " (deleted)".
	BackingPath string

	Offset    units.Bytes
	SizeLimit units.Bytes // 0 for none
	Size      units.Bytes
	// SectorSize is the logical block size.
	SectorSize units.Bytes

	DirectIO  bool
	ReadOnly  bool
	Autoclear bool
	PartScan  bool
}

// Validate returns an error if no kernel accepts the options.
func (o AttachOptions) Validate() error {
	s := o.SectorSize
	if s == 0 || (s >= units.SectorSize && s <= maxSectorSize() && s&(s-1) == 0) {
		return nil
	}
	return &Error{Kind: fault.Invalid, Detail: fmt.Sprintf("sector size %d is not a power of two from 512 to %d",
		uint64(s), uint64(maxSectorSize()))}
}

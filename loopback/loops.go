package loopback

import (
	"context"
	"fmt"

	"thinctl/blockdev"
	"thinctl/units"
)

// Loops attaches files to loop devices. Control is the kernel's; looptest has
// one in memory.
type Loops interface {
	// Attach puts a regular file behind a free loop device. The device outlives
	// the process unless AttachOptions.Autoclear says otherwise.
	Attach(ctx context.Context, file string, o AttachOptions) (Device, error)

	// Find returns the devices that the file is behind, by the inode: a renamed
	// or bind-mounted path finds the same ones. If no file of that name exists
	// any more, it returns those whose file was deleted under that name.
	Find(ctx context.Context, file string) ([]Device, error)

	// Info asks the kernel about a device.
	Info(ctx context.Context, d Device) (Info, error)

	// Refresh makes the device take over its file's present size and returns
	// what the device then has.
	Refresh(ctx context.Context, d Device) (units.Bytes, error)

	// Detach takes the file away from the device and returns when it is gone.
	// A device that someone has open gives ErrBusy at the bound, one that has
	// another file behind it ErrForeign; neither is changed.
	Detach(ctx context.Context, d Device) error
}

// FileID is a file's identity: the file system's device number and the inode,
// as stat(2) and LOOP_GET_STATUS64 both give them.
type FileID struct {
	Device uint64
	Inode  uint64
}

// Device is a loop device with a file behind it. It is a plain value: it may be
// kept, compared and stored. Backing is what guards it: once another file is
// behind the same path, the operations answer ErrForeign.
type Device struct {
	Path    string // /dev/loop3
	Number  blockdev.Number
	File    string // the backing file as the caller or the kernel named it
	Backing FileID

	DirectIO bool // what the kernel granted, not what was asked
	ReadOnly bool
}

// AttachOptions say how a file is attached. The zero value is read-write, with
// direct IO where the file allows it, for longer than the process lives.
type AttachOptions struct {
	ReadOnly bool

	// Buffered attaches without direct IO.
	Buffered bool

	// SectorSize is the device's logical block size: a power of two from 512 to
	// the page size. Zero leaves the choice to what the device can do: what
	// direct IO on the file needs, or 512. A pool should store what it got and
	// ask for that again: file systems do not mount on larger sectors.
	SectorSize units.Bytes

	// Autoclear makes the kernel detach the device at its last close. The
	// attaching Control keeps it open until its Close or the process's end.
	Autoclear bool

	// Reuse returns the device that the file is already behind, if it starts at
	// offset 0 without a size limit, with the same ReadOnly and, if given,
	// SectorSize. Its autoclear flag is set as asked; direct IO stays as it is.
	Reuse bool
}

// Info is what the kernel says of a device.
type Info struct {
	Device Device

	// BackingPath is the file's path as the kernel has it now, seen from this
	// mount namespace; a deleted file's ends in " (deleted)".
	BackingPath string

	Offset    units.Bytes
	SizeLimit units.Bytes // 0: none
	Size      units.Bytes
	// SectorSize is the logical block size.
	SectorSize units.Bytes

	DirectIO  bool
	ReadOnly  bool
	Autoclear bool
	PartScan  bool
}

// Validate reports options that no kernel could follow.
func (o AttachOptions) Validate() error {
	s := o.SectorSize
	if s == 0 || (s >= units.SectorSize && s <= maxSectorSize() && s&(s-1) == 0) {
		return nil
	}
	return &Error{Kind: ErrInvalid, Detail: fmt.Sprintf("sector size %d: it must be a power of two from 512 to %d",
		uint64(s), uint64(maxSectorSize()))}
}

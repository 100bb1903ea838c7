package loopback

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"thinctl/units"
)

// backing is an open regular file that is to be attached.
type backing struct {
	*os.File
	id FileID
}

func openBacking(path string, readOnly bool) (*backing, error) {
	flags := os.O_RDWR
	if readOnly {
		flags = os.O_RDONLY
	}
	// Check the type before opening: opening a device or a pipe has effects.
	if err := regular(os.Stat(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := regular(f.Stat()); err != nil {
		f.Close()
		return nil, err
	}
	id, err := fstatID(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &backing{File: f, id: id}, nil
}

func regular(st os.FileInfo, err error) error {
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return &Error{Kind: ErrNotRegular}
	}
	return nil
}

// lock serialises the attachments of one file across processes. Without it, two
// processes could both find no device and attach the file twice. The lock needs a
// file handle of its own: the loop device keeps the handle that it is given open,
// and with it the lock.
func (b *backing) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(procPath(b.File), os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := flock(ctx, f); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// directAlign returns the block size that direct IO on the file requires, 0 if the
// kernel does not report it (statx(2), STATX_DIOALIGN, from 6.1 on).
func (b *backing) directAlign() units.Bytes {
	var st unix.Statx_t
	err := unix.Statx(int(b.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 {
		return 0
	}
	return units.Bytes(st.Dio_offset_align)
}

// sectorSize returns the sector size to request, 0 for the kernel's default. Kernels
// before 6.15 choose 512 bytes, and then refuse direct IO if the disk below the file
// has larger sectors (drivers/block/loop.c, loop_default_blocksize).
func (b *backing) sectorSize(o AttachOptions) units.Bytes {
	if o.SectorSize != 0 || o.Buffered {
		return o.SectorSize
	}
	if align := b.directAlign(); align > units.SectorSize && align <= maxSectorSize() {
		return align
	}
	return 0
}

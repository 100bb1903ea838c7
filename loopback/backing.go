package loopback

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"thinctl/units"
)

// backing is a regular file that is open to be attached.
type backing struct {
	*os.File
	id FileID
}

func openBacking(path string, readOnly bool) (*backing, error) {
	flags := os.O_RDWR
	if readOnly {
		flags = os.O_RDONLY
	}
	// Looked at before it is opened: opening a device or a pipe has effects.
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

// lock serialises the attaching of one file across processes, so that two with
// Reuse do not both find nothing and attach it twice. It is taken on a handle of
// its own: a lock belongs to the open file, and the kernel's loop device would
// keep it for as long as it has the file.
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

// directAlign is the block size that direct IO on the file needs, or 0 where the
// kernel does not tell (statx(2), STATX_DIOALIGN, from 6.1).
func (b *backing) directAlign() units.Bytes {
	var st unix.Statx_t
	err := unix.Statx(int(b.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 {
		return 0
	}
	return units.Bytes(st.Dio_offset_align)
}

// sectorSize is what to ask the kernel for; 0 leaves it to the kernel. Kernels
// before 6.15 stay at 512 and refuse direct IO where the disk below needs more
// (drivers/block/loop.c, loop_default_blocksize).
func (b *backing) sectorSize(o AttachOptions) units.Bytes {
	if o.SectorSize != 0 || o.Buffered {
		return o.SectorSize
	}
	if align := b.directAlign(); align > units.SectorSize && align <= maxSectorSize() {
		return align
	}
	return 0
}

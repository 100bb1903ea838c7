package metadata

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/units"
)

// File is a metadata device, or a file in place of one, open for reading.
type File struct {
	f      *os.File
	direct bool
}

// Open opens a metadata device or file. A block device must support O_DIRECT. A regular file is
// read through the page cache if its file system does not support direct IO.
func Open(path string) (*File, error) {
	f, err := open(path, unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("open metadata %s: %w", path, err)
	}
	return f, nil
}

// OpenOffline opens metadata that no pool uses, so that the trees of the live superblock do not
// change. A block device is opened exclusively: until Close no pool can start on it. The error
// is fault.Busy if a pool or another process has it open exclusively. The caller must ensure that
// a regular file is not behind a loop device in use.
func OpenOffline(path string) (*File, error) {
	f, err := open(path, unix.O_RDONLY|unix.O_EXCL)
	if errors.Is(err, unix.EBUSY) {
		err = fmt.Errorf("%w: %w", fault.Busy, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open metadata %s: %w", path, err)
	}
	return f, nil
}

// ReadSuperblockFile reads and verifies the live superblock of the device or file at path.
func ReadSuperblockFile(path string) (Superblock, error) {
	f, err := Open(path)
	if err != nil {
		return Superblock{}, err
	}
	s, err := ReadSuperblock(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return Superblock{}, fmt.Errorf("metadata %s: %w", path, err)
	}
	return s, nil
}

// open applies O_EXCL to block devices only. The kernel then returns EBUSY while a pool claims
// the device (block/bdev.c, bd_prepare_to_claim).
func open(path string, how int) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	block := isBlock(info)
	if !block && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%v is neither a block device nor a regular file", info.Mode().Type())
	}
	if !block {
		how &^= unix.O_EXCL
	}
	f := &File{direct: true}
	f.f, err = os.OpenFile(path, how|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if !block && errors.Is(err, unix.EINVAL) {
		f.direct = false
		f.f, err = os.OpenFile(path, how|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, err
	}
	if opened, err := f.f.Stat(); err != nil || !os.SameFile(info, opened) {
		return nil, errors.Join(errors.New("another file replaced it while it was opened: try again"), err, f.f.Close())
	}
	return f, nil
}

func isBlock(info os.FileInfo) bool {
	return info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0
}

// ReadAt implements io.ReaderAt for any range. Whole blocks into an aligned buffer need no
// copy.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	size := int64(blockSize)
	if !f.direct || len(p) == 0 || (isAligned(p) && int64(len(p))%size == 0 && off%size == 0) {
		return f.f.ReadAt(p, off)
	}
	if off < 0 {
		return 0, fmt.Errorf("read metadata %s: negative offset %d", f.f.Name(), off)
	}
	b, done := newBlock(), 0
	for done < len(p) {
		at := off + int64(done)
		skip := at % size
		n, err := f.f.ReadAt(b, at-skip)
		if int64(n) <= skip {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return done, err
		}
		done += copy(p[done:], b[skip:n])
		if err != nil && done < len(p) {
			return done, err
		}
	}
	return done, nil
}

// Size returns the size of the device or file in bytes.
func (f *File) Size() (units.Bytes, error) {
	end, err := f.f.Seek(0, io.SeekEnd)
	return units.Bytes(end), err
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

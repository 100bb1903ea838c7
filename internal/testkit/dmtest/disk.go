package dmtest

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"thinctl/units"
)

// Disk is a block device that tables can use.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	Size() units.Bytes
}

// discarder is a disk that supports discards: the range then reads as zeros. On another
// disk a pool disables its discard passdown, as the kernel does.
type discarder interface {
	Discard(offset, length units.Bytes) error
}

// MemDisk is a sparse disk in memory. It is safe for concurrent use.
type MemDisk struct {
	mu    sync.RWMutex
	size  units.Bytes
	pages map[units.Bytes][]byte
}

const page = 4 * units.KiB

// NewMemDisk returns a disk that is filled with zeros.
func NewMemDisk(size units.Bytes) *MemDisk {
	return &MemDisk{size: size, pages: make(map[units.Bytes][]byte)}
}

// Size returns the disk's size.
func (d *MemDisk) Size() units.Bytes {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.size
}

// Resize changes the disk's size.
func (d *MemDisk) Resize(size units.Bytes) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.size = size
}

// Clone returns a copy, as copying the backing file would.
func (d *MemDisk) Clone() *MemDisk {
	d.mu.RLock()
	defer d.mu.RUnlock()
	c := NewMemDisk(d.size)
	for at, p := range d.pages {
		c.pages[at] = append([]byte(nil), p...)
	}
	return c
}

// ReadAt implements [io.ReaderAt].
func (d *MemDisk) ReadAt(b []byte, off int64) (int, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if off < 0 || units.Bytes(off)+units.Bytes(len(b)) > d.size {
		return 0, io.EOF
	}
	eachPage(b, off, func(at, skip units.Bytes, part []byte) {
		if p := d.pages[at]; p != nil {
			copy(part, p[skip:])
		} else {
			clear(part)
		}
	})
	return len(b), nil
}

// WriteAt implements [io.WriterAt].
func (d *MemDisk) WriteAt(b []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off < 0 || units.Bytes(off)+units.Bytes(len(b)) > d.size {
		return 0, fmt.Errorf("dmtest: write beyond the end of the disk: %w", unix.ENOSPC)
	}
	eachPage(b, off, func(at, skip units.Bytes, part []byte) {
		p := d.pages[at]
		if p == nil {
			if allZero(part) {
				return
			}
			p = make([]byte, page)
			d.pages[at] = p
		}
		copy(p[skip:], part)
	})
	return len(b), nil
}

func eachPage(b []byte, off int64, do func(at, skip units.Bytes, part []byte)) {
	for at := units.Bytes(off); len(b) > 0; {
		skip := at % page
		n := min(int(page-skip), len(b))
		do(at-skip, skip, b[:n])
		b, at = b[n:], at+units.Bytes(n)
	}
}

// Discard zeroes the range.
func (d *MemDisk) Discard(offset, length units.Bytes) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for at := offset; at < offset+length; {
		skip := at % page
		n := min(page-skip, offset+length-at)
		if n == page {
			delete(d.pages, at)
		} else if p := d.pages[at-skip]; p != nil {
			clear(p[skip : skip+n])
		}
		at += n
	}
	return nil
}

// FileDisk is a disk on a sparse file.
type FileDisk struct{ file *os.File }

// OpenFileDisk opens the file at path. The caller closes the disk.
func OpenFileDisk(path string) (*FileDisk, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("dmtest: open disk: %w", err)
	}
	return &FileDisk{file: file}, nil
}

// Close closes the file.
func (d *FileDisk) Close() error { return d.file.Close() }

// Size returns the file's present size.
func (d *FileDisk) Size() units.Bytes {
	info, err := d.file.Stat()
	if err != nil {
		return 0
	}
	return units.Bytes(info.Size())
}

// ReadAt implements [io.ReaderAt].
func (d *FileDisk) ReadAt(b []byte, off int64) (int, error) { return d.file.ReadAt(b, off) }

// WriteAt implements [io.WriterAt].
func (d *FileDisk) WriteAt(b []byte, off int64) (int, error) {
	if units.Bytes(off)+units.Bytes(len(b)) > d.Size() {
		return 0, fmt.Errorf("dmtest: write beyond the end of the disk: %w", unix.ENOSPC)
	}
	return d.file.WriteAt(b, off)
}

// Discard punches a hole into the file.
func (d *FileDisk) Discard(offset, length units.Bytes) error {
	const punch = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	return unix.Fallocate(int(d.file.Fd()), punch, int64(offset), int64(length))
}

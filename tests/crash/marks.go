package crash

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"thinctl/thinpool"
	"thinctl/units"
)

// Marks writes values to the blocks of real volumes. A mark fills the first 4 KiB of a
// block of 64 KiB. The 4 KiB after it are never written: they show whether the pool zeroed
// the rest of the block.
type Marks struct{}

const (
	markBlock  = 64 * units.KiB
	markLength = 4 * units.KiB
)

// Write makes the value durable: an odd value with O_DIRECT and O_DSYNC, an even one
// through the page cache with fsync.
func (Marks) Write(v thinpool.Volume, block, value uint64) (err error) {
	flags := os.O_WRONLY | unix.O_CLOEXEC
	if value%2 == 1 {
		flags |= unix.O_DIRECT | unix.O_DSYNC
	}
	file, err := os.OpenFile(v.Node, flags, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	content := aligned(int(markLength))
	for at := 0; at < len(content); at += sectorSize {
		putSector(content[at:at+sectorSize], value, block, uint64(at/sectorSize))
	}
	if _, err := file.WriteAt(content, int64(units.Bytes(block)*markBlock)); err != nil {
		return err
	}
	return file.Sync()
}

// Read returns the values of a block's sectors: one value, unless a write was torn.
func (Marks) Read(v thinpool.Volume, block uint64) (values []uint64, err error) {
	file, err := os.OpenFile(v.Node, os.O_RDONLY|unix.O_CLOEXEC|unix.O_DIRECT, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	content := aligned(int(2 * markLength))
	if _, err := file.ReadAt(content, int64(units.Bytes(block)*markBlock)); err != nil {
		return nil, err
	}
	for at := 0; at < len(content); at += sectorSize {
		value, err := sector(content[at:at+sectorSize], block, uint64(at/sectorSize))
		if err != nil {
			return nil, fmt.Errorf("%s, byte %d of block %d: %w", v.Node, at, block, err)
		}
		if at >= int(markLength) {
			if value != 0 {
				return nil, fmt.Errorf("%s, byte %d of block %d: it was never written and is not zero", v.Node, at, block)
			}
			continue
		}
		if !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values, nil
}

// aligned returns a buffer whose address O_DIRECT accepts.
func aligned(size int) []byte {
	const boundary = 4096
	b := make([]byte, size+boundary)
	shift := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % boundary)
	return b[shift : shift+size]
}

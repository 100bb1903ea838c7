package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"

	"thinctl/units"
)

// FileSystemSize reads a file system's size from the superblock at a byte offset of a
// file or device. It supports ext2 to ext4 and xfs, and returns 0 for anything else.
func FileSystemSize(path string, offset units.Bytes) (units.Bytes, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	b := make([]byte, 4096)
	if _, err := file.ReadAt(b, int64(offset)); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read the superblock at byte %d of %s: %w", uint64(offset), path, err)
	}
	return sizeInSuperblock(b), nil
}

// sizeInSuperblock reads the size from the first 4 KiB of a file system. It returns 0
// for an impossible size.
func sizeInSuperblock(b []byte) units.Bytes {
	const ext4At = 1024
	switch {
	case string(b[:4]) == "XFSB":
		// struct xfs_dsb (fs/xfs/libxfs/xfs_format.h), big-endian.
		size := uint64(binary.BigEndian.Uint32(b[4:]))
		if size < 512 || size > 64<<10 || bits.OnesCount64(size) != 1 {
			return 0
		}
		return times(binary.BigEndian.Uint64(b[8:]), size)
	case b[ext4At+56] == 0x53 && b[ext4At+57] == 0xef:
		return ext4Size(b[ext4At:])
	}
	return 0
}

// ext4Size reads struct ext4_super_block (fs/ext4/ext4.h).
func ext4Size(sb []byte) units.Bytes {
	const (
		incompat64 = 0x80 // EXT4_FEATURE_INCOMPAT_64BIT
		maxLog     = 6    // blocks of 64 KiB
	)
	log := binary.LittleEndian.Uint32(sb[24:])
	if log > maxLog {
		return 0
	}
	blocks := uint64(binary.LittleEndian.Uint32(sb[4:]))
	if binary.LittleEndian.Uint32(sb[96:])&incompat64 != 0 {
		blocks |= uint64(binary.LittleEndian.Uint32(sb[336:])) << 32
	}
	return times(blocks, 1024<<log)
}

func times(blocks, size uint64) units.Bytes {
	high, low := bits.Mul64(blocks, size)
	if high != 0 {
		return 0
	}
	return units.Bytes(low)
}

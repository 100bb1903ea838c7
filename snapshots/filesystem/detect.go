package filesystem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"thinctl/fault"

	"golang.org/x/sys/unix"
)

// Type is a type of file system; "" is none or unknown.
type Type string

// The types of file systems that Format makes.
const (
	Ext4 Type = "ext4"
	XFS  Type = "xfs"
)

const (
	ext4At       = 1024 // offset of ext4's superblock
	xfsMagic     = "XFSB"
	journalOnly  = 0x8 // EXT4_FEATURE_INCOMPAT_JOURNAL_DEV
	maxLogBlock  = 6   // 64 KiB, EXT4_MAX_BLOCK_LOG_SIZE
	xfsBlockSize = 4
	xfsUUID      = 32
)

// Detect returns the type of the file system on a device, from its superblock, or
// "" if it is neither ext4 nor xfs. It returns ext4 for ext2 and ext3, which the
// driver of ext4 mounts.
func Detect(device string) (Type, UUID, error) {
	f, err := openDevice(device, 0)
	if err != nil {
		return "", UUID{}, in("detect", device, err)
	}
	kind, id, err := detect(f)
	return kind, id, in("detect", device, errors.Join(err, f.Close()))
}

func detect(r io.ReaderAt) (Type, UUID, error) {
	b := make([]byte, 4096)
	n, err := r.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", UUID{}, fmt.Errorf("read the superblock: %w", err)
	}
	clear(b[n:])
	isExt4, isXFS := binary.LittleEndian.Uint16(b[ext4At+56:]) == unix.EXT4_SUPER_MAGIC, string(b[:4]) == xfsMagic
	switch {
	case isExt4 && isXFS:
		return "", UUID{}, &Error{Kind: fault.Damaged, Detail: "the device has the magic numbers of both ext4 and xfs"}
	case isExt4:
		return detectExt4(b[ext4At:])
	case isXFS:
		return detectXFS(b)
	}
	return "", UUID{}, nil
}

// detectExt4 reads struct ext4_super_block (fs/ext4/ext4.h).
func detectExt4(sb []byte) (Type, UUID, error) {
	if log := binary.LittleEndian.Uint32(sb[24:]); log > maxLogBlock {
		return "", UUID{}, &Error{Kind: fault.Damaged, Detail: fmt.Sprintf("ext4 with blocks of 2^%d KiB", log)}
	}
	if binary.LittleEndian.Uint32(sb[96:])&journalOnly != 0 {
		return "", UUID{}, nil // a journal for the file system on another device
	}
	return Ext4, UUID(sb[104:120]), nil
}

// detectXFS reads struct xfs_dsb (fs/xfs/libxfs/xfs_format.h), big-endian.
func detectXFS(sb []byte) (Type, UUID, error) {
	size := binary.BigEndian.Uint32(sb[xfsBlockSize:])
	if size < 512 || size > 65536 || size&(size-1) != 0 {
		return "", UUID{}, &Error{Kind: fault.Damaged, Detail: fmt.Sprintf("xfs with blocks of %d bytes", size)}
	}
	return XFS, UUID(sb[xfsUUID : xfsUUID+16]), nil
}

// openDevice opens a block device for reading.
func openDevice(device string, flags int) (*os.File, error) {
	if err := checkPath(device); err != nil {
		return nil, err
	}
	info, err := os.Stat(device)
	if err != nil {
		return nil, err
	}
	if info.Mode()&(os.ModeDevice|os.ModeCharDevice) != os.ModeDevice {
		return nil, invalid("not a block device")
	}
	f, err := os.OpenFile(device, os.O_RDONLY|flags, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, &Error{Kind: fault.Busy, Err: err,
			Detail: "the device is mounted, or claimed by another device or program; unmount it first"}
	}
	return f, err
}

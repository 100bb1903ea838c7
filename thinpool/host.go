package thinpool

import (
	"context"
	"io"
	"time"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/internal/disk"
	"thinctl/loopback"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// Host is the access of pools to the machine. A test may replace each part by a fake in
// memory: a pool changes the machine only through these parts.
type Host struct {
	Kernel dm.Kernel
	Loops  loopback.Loops
	Disks  Disks
	// BeforeStore is called before each transaction of the pool's database if it is not
	// nil. Its error ends the transaction. Tests stop a process there.
	BeforeStore func(write bool) error
	// Holders returns the mounts, devices and processes that keep a device in use, with
	// an error if the list may be incomplete. It may be nil.
	Holders func(context.Context, blockdev.Number) (Holding, error)
	// BusyTimeout bounds the wait for a device that another process has open; 0 is
	// [BusyTimeout], negative is no wait.
	BusyTimeout time.Duration
	// Now is the clock of records; nil is time.Now.
	Now func() time.Time
}

func (h Host) now() time.Time {
	if h.Now != nil {
		return h.Now().UTC()
	}
	return time.Now().UTC()
}

// Disks is a pool's access to the files, block devices and metadata of the host.
type Disks interface {
	FileSystem
	BlockDevices
	MetadataTools
}

// FileSystem is a pool's access to directories and files.
type FileSystem interface {
	// MakeDir makes a directory with mode 0700. It is durable when MakeDir returns.
	// The error is os.ErrExist if the path exists.
	MakeDir(path string) error
	// CreateSparse and Grow are those of package loopback.
	CreateSparse(path string, size units.Bytes, options loopback.FileOptions) error
	Grow(path string, size units.Bytes, options loopback.FileOptions) error
	// WriteFile creates or replaces a file with mode 0600, atomically and durably.
	WriteFile(path string, content []byte) error
	// Rename durably moves a file or directory to a name that does not exist.
	Rename(from, to string) error
	// Remove deletes a file or an empty directory. It succeeds if the path does not
	// exist.
	Remove(path string) error
	// Usage returns the size of a file and the blocks that it occupies.
	Usage(path string) (loopback.FileUsage, error)
	// Space returns the total and the free space of the file system that has the path.
	Space(path string) (loopback.Space, error)
}

// BlockDevices is a pool's access to block devices.
type BlockDevices interface {
	// Device describes a block device. It fails if the path is something else.
	Device(path string) (BlockDevice, error)
	// Devices lists all block devices of the host, with their identities.
	Devices() ([]disk.Device, error)
	// Identity reads the identity of the block device that a path leads to.
	Identity(path string) (disk.Identity, error)
	// Open holds a block device or file open, so that its number is not reused.
	Open(path string) (Disk, error)
	// Contents returns what a new owner would destroy, or "" if the first and the last
	// MiB are zero.
	Contents(path string) (string, error)
	// Wipe zeroes a range of a file or device. It is durable when Wipe returns.
	Wipe(path string, offset, length units.Bytes) error
	// FileSystemSize reads the size of the ext4 or xfs file system whose first block is
	// at the offset. It returns 0 if there is none.
	FileSystemSize(path string, offset units.Bytes) (units.Bytes, error)
	// Discard discards a range of a block device.
	Discard(ctx context.Context, node string, offset, length units.Bytes) error
	// Flush makes all writes to a block device durable.
	Flush(ctx context.Context, node string) error
}

// MetadataTools is a pool's access to thin pool metadata, on a device or in a file.
type MetadataTools interface {
	// Superblock reads the superblock, and Stamp writes a uuid into it.
	Superblock(path string) (metadata.Superblock, error)
	Stamp(path string, uuid [16]byte) error
	// ClearNeedsCheck clears the flag needs_check of metadata that passed a check.
	ClearNeedsCheck(path string) error
	// RebuildMetadata writes the readable part of damaged metadata into fresh, a file
	// of zeros. It is durable when RebuildMetadata returns.
	RebuildMetadata(ctx context.Context, damaged, fresh string) (metadata.Repaired, error)
	// CopyMetadata writes the first size bytes of metadata over other metadata of the
	// same pool, the superblock last. It can be repeated after a kill. It is durable
	// when CopyMetadata returns.
	CopyMetadata(ctx context.Context, from, to string, size units.Bytes) error
	// Metadata opens metadata for reading. With offline it claims a device, so that no
	// pool can be activated on it; otherwise the pool may be active.
	Metadata(path string, offline bool) (MetadataFile, error)
}

// MetadataFile is a pool's metadata that is open for reading.
type MetadataFile interface {
	io.ReaderAt
	io.Closer
	Size() (units.Bytes, error)
}

// BlockDevice is a device that can hold a pool's data or metadata.
type BlockDevice struct {
	Dev      blockdev.Number
	Size     units.Bytes
	Busy     bool // mounted, or held by another device or program
	Identity disk.Identity
}

// Disk is a block device or file that is held open.
type Disk interface {
	io.ReaderAt
	io.Closer
	// About describes the device or file at the moment of Open. A file has no number.
	About() disk.Device
	// Write writes to the device or file. It is durable when Write returns.
	Write(b []byte, offset units.Bytes) error
	// IsAt reports whether a path leads to the device or file.
	IsAt(path string) (bool, error)
	// Inode returns the file system and inode of a file.
	Inode() (device, inode uint64, err error)
}

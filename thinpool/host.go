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

// Host is what a pool stands on. Each part may be a fake in memory; every
// change that a pool makes to the world goes through one of them.
type Host struct {
	Kernel dm.Kernel
	Loops  loopback.Loops
	Disks  Disks
	// BeforeStore, where set, is asked before each transaction of the pool's
	// database, and its error ends the transaction: tests stop a process there.
	BeforeStore func(write bool) error
	// Holders returns what keeps a device in use, with an error where that may not be
	// all; nil: it is not known.
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

// Disks is what a pool does with folders, files and block devices.
type Disks interface {
	// MakeDir makes a folder, 0700, durable when it returns; os.ErrExist where
	// it stands already.
	MakeDir(path string) error
	// CreateSparse and Grow are loopback's.
	CreateSparse(path string, size units.Bytes, options loopback.FileOptions) error
	Grow(path string, size units.Bytes, options loopback.FileOptions) error
	// WriteFile writes a file, 0600, in the place of one that may be there: whole,
	// old or new; durable.
	WriteFile(path string, content []byte) error
	// Rename moves a file or folder to a name that must be free; durable.
	Rename(from, to string) error
	// Remove deletes a file, an empty folder, or nothing where nothing is.
	Remove(path string) error
	// Usage says what a file takes on its file system.
	Usage(path string) (loopback.FileUsage, error)
	// Space says what the file system under path has.
	Space(path string) (loopback.Space, error)

	// Device describes a block device; an error where it is not one.
	Device(path string) (BlockDevice, error)
	// Devices lists all block devices of the host, with their identities.
	Devices() ([]disk.Device, error)
	// Identity reads the identity of the block device that a path leads to.
	Identity(path string) (disk.Identity, error)
	// Open holds a block device or file open, so that its number stays its own.
	Open(path string) (Disk, error)
	// Contents looks for anything that a new owner would destroy: it returns
	// what was found, or "" where the first and last MiB are zero.
	Contents(path string) (string, error)
	// Wipe zeroes a range of a file or device, durable when it returns.
	Wipe(path string, offset, length units.Bytes) error
	// FileSystemSize reads the size of the file system, ext4 or xfs, whose first
	// block is at that offset; 0 if there is none.
	FileSystemSize(path string, offset units.Bytes) (units.Bytes, error)
	// Discard tells a block device that a range is not needed any more.
	Discard(ctx context.Context, node string, offset, length units.Bytes) error

	// Flush makes durable what was written to a block device.
	Flush(ctx context.Context, node string) error

	// Superblock reads a metadata device's superblock, and Stamp puts a uuid in.
	Superblock(path string) (metadata.Superblock, error)
	Stamp(path string, uuid [16]byte) error
	// ClearNeedsCheck clears the flag of metadata that was found sound.
	ClearNeedsCheck(path string) error
	// RebuildMetadata writes what can be read of damaged metadata into fresh, a
	// file of zeros; durable when it returns.
	RebuildMetadata(ctx context.Context, damaged, fresh string) (metadata.Repaired, error)
	// CopyMetadata writes the first size bytes of metadata over another's: a
	// file's onto a device of the same pool or the other way, the superblock last.
	// Repeated after a kill it ends with the whole; durable when it returns.
	CopyMetadata(ctx context.Context, from, to string, size units.Bytes) error
	// Metadata opens a metadata device or file for reading: an active pool's
	// beside the kernel, else offline, so that no pool can start on a device.
	Metadata(path string, offline bool) (MetadataFile, error)
}

// MetadataFile is a pool's metadata, open for reading.
type MetadataFile interface {
	io.ReaderAt
	io.Closer
	Size() (units.Bytes, error)
}

// BlockDevice is a device that a pool may be put on.
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
	// About describes it as it was when it was opened; a file has no number.
	About() disk.Device
	// Write writes to what is held, durable when it returns.
	Write(b []byte, offset units.Bytes) error
	// IsAt reports whether a path leads to the device or file.
	IsAt(path string) (bool, error)
	// Inode returns the file system and inode of a file.
	Inode() (device, inode uint64, err error)
}

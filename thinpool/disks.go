package thinpool

import (
	"context"
	"errors"
	"os"

	"thinctl/blockdev"
	"thinctl/internal/disk"
	"thinctl/loopback"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// LocalDisks implements [Disks] on the host's own files and block devices.
type LocalDisks struct{}

var _ Disks = LocalDisks{}

// MakeDir implements [Disks].
func (LocalDisks) MakeDir(path string) error { return disk.MakeDir(path) }

// CreateSparse implements [Disks].
func (LocalDisks) CreateSparse(path string, size units.Bytes, options loopback.FileOptions) error {
	return loopback.CreateSparse(path, size, options)
}

// Grow implements [Disks].
func (LocalDisks) Grow(path string, size units.Bytes, options loopback.FileOptions) error {
	return loopback.Grow(path, size, options)
}

// WriteFile implements [Disks].
func (LocalDisks) WriteFile(path string, content []byte) error { return disk.WriteFile(path, content) }

// Rename implements [Disks].
func (LocalDisks) Rename(from, to string) error { return disk.Rename(from, to) }

// Remove implements [Disks].
func (LocalDisks) Remove(path string) error { return disk.Remove(path) }

// Usage implements [Disks].
func (LocalDisks) Usage(path string) (loopback.FileUsage, error) { return loopback.Usage(path) }

// Space implements [Disks].
func (LocalDisks) Space(path string) (loopback.Space, error) { return loopback.FreeSpace(path) }

// Device implements [Disks].
func (LocalDisks) Device(path string) (BlockDevice, error) {
	d, err := disk.Describe(path)
	if err != nil {
		return BlockDevice{}, err
	}
	identity, err := disk.Host{}.Identity(d.Number)
	return BlockDevice{Dev: blockdev.Number(d.Number), Size: d.Size, Busy: d.Busy, Identity: identity}, err
}

// Devices implements [Disks].
func (LocalDisks) Devices() ([]disk.Device, error) { return disk.Host{}.Devices() }

// Identity implements [Disks].
func (LocalDisks) Identity(path string) (disk.Identity, error) { return disk.Host{}.IdentityAt(path) }

// Open implements [Disks].
func (LocalDisks) Open(path string) (Disk, error) {
	handle, err := disk.Host{}.Open(path)
	if err != nil {
		return nil, err
	}
	return handle, nil
}

// Contents implements [Disks].
func (LocalDisks) Contents(path string) (string, error) { return disk.Contents(path) }

// FileSystemSize implements [Disks].
func (LocalDisks) FileSystemSize(path string, offset units.Bytes) (units.Bytes, error) {
	return disk.FileSystemSize(path, offset)
}

// Wipe implements [Disks].
func (LocalDisks) Wipe(path string, offset, length units.Bytes) error {
	return disk.Wipe(path, offset, length)
}

// Discard implements [Disks].
func (LocalDisks) Discard(ctx context.Context, node string, offset, length units.Bytes) error {
	return disk.Discard(ctx, node, offset, length)
}

// Flush implements [Disks].
func (LocalDisks) Flush(ctx context.Context, node string) error { return disk.Flush(ctx, node) }

// Superblock implements [Disks].
func (LocalDisks) Superblock(path string) (metadata.Superblock, error) {
	return metadata.ReadSuperblockFile(path)
}

// Stamp implements [Disks].
func (LocalDisks) Stamp(path string, uuid [16]byte) error { return metadata.WriteUUID(path, uuid) }

// ClearNeedsCheck implements [Disks].
func (LocalDisks) ClearNeedsCheck(path string) error { return metadata.ClearNeedsCheck(path) }

// Metadata implements [Disks].
func (LocalDisks) Metadata(path string, offline bool) (MetadataFile, error) {
	open := metadata.Open
	if offline {
		open = metadata.OpenOffline
	}
	file, err := open(path)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// CopyMetadata implements [Disks].
func (LocalDisks) CopyMetadata(ctx context.Context, from, to string, size units.Bytes) error {
	return metadata.Copy(ctx, from, to, size)
}

// RebuildMetadata implements [Disks].
func (LocalDisks) RebuildMetadata(ctx context.Context, damaged, fresh string) (_ metadata.Repaired, err error) {
	from, err := metadata.OpenOffline(damaged)
	if err != nil {
		return metadata.Repaired{}, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := os.OpenFile(fresh, os.O_RDWR, 0)
	if err != nil {
		return metadata.Repaired{}, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	had, err := from.Size()
	if err != nil {
		return metadata.Repaired{}, err
	}
	has, err := to.Stat()
	if err != nil {
		return metadata.Repaired{}, err
	}
	repaired, err := metadata.Repair(ctx, from, to, metadata.RepairOptions{
		SourceBlocks: uint64(had / metadataBlock), Blocks: uint64(units.Bytes(has.Size()) / metadataBlock),
	})
	if err != nil {
		return metadata.Repaired{}, err
	}
	return repaired, to.Sync()
}

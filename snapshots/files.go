package snapshots

import (
	"context"

	"thinctl/blockdev"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// Files is access to the file systems on volumes: [filesystem.Local], or the file
// systems in memory of package snapshotstest. The methods are the functions of package
// filesystem.
type Files interface {
	Format(ctx context.Context, device string, o filesystem.FormatOptions) error
	// Slim discards the zeros that Format wrote to a thin volume.
	Slim(ctx context.Context, device string) error
	Mount(ctx context.Context, device, target string, o filesystem.MountOptions) error
	Unmount(ctx context.Context, target string, o filesystem.UnmountOptions) error
	Grow(ctx context.Context, device, target string) error
	Trim(ctx context.Context, target string) (units.Bytes, error)
	// Sync writes pending data at target to the device, and returns errors of writes
	// since it was mounted.
	Sync(ctx context.Context, target string) error
	// Space returns the free space of the file system that is mounted at target.
	Space(target string) (filesystem.Space, error)
	Mounts(device blockdev.Number) ([]filesystem.MountPoint, error)
	Holders(ctx context.Context, device blockdev.Number) ([]filesystem.Holder, error)
	// NeedsRecovery reports whether an unmounted file system must be mounted once
	// before it can be read without its journal.
	NeedsRecovery(device string) (bool, error)
	// Inodes returns the number of inodes in use of the file system on a device, which
	// is mounted at target, or not mounted if target is "".
	Inodes(device, target string) (uint64, error)
}

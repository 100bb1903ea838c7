package snapshots

import (
	"context"

	"thinctl/blockdev"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// Files are the file systems on volumes: [filesystem.Local], or those in memory
// of package snapshotstest. The methods are package filesystem's functions.
type Files interface {
	Format(ctx context.Context, device string, o filesystem.FormatOptions) error
	// Slim gives back what Format wrote as zeros to a thin volume.
	Slim(ctx context.Context, device string) error
	Mount(ctx context.Context, device, target string, o filesystem.MountOptions) error
	Unmount(ctx context.Context, target string, o filesystem.UnmountOptions) error
	Grow(ctx context.Context, device, target string) error
	Trim(ctx context.Context, target string) (units.Bytes, error)
	// Sync writes out what is pending at target, and tells of writes that have
	// failed since it was mounted.
	Sync(ctx context.Context, target string) error
	// Space returns what the file system that is mounted at target has left.
	Space(target string) (filesystem.Space, error)
	Mounts(device blockdev.Number) ([]filesystem.MountPoint, error)
	Holders(ctx context.Context, device blockdev.Number) ([]filesystem.Holder, error)
	// NeedsRecovery tells whether a file system that is not mounted must be
	// mounted once before it can be read without its journal.
	NeedsRecovery(device string) (bool, error)
}

package filesystem

import (
	"context"

	"thinctl/blockdev"
	"thinctl/units"
)

// Local has the functions of this package as methods, for the file systems of this
// host.
type Local struct{}

// Format calls the function of that name.
func (Local) Format(ctx context.Context, device string, o FormatOptions) error {
	return Format(ctx, device, o)
}

// Slim calls the function of that name.
func (Local) Slim(ctx context.Context, device string) error { return Slim(ctx, device) }

// Mount calls the function of that name.
func (Local) Mount(ctx context.Context, device, target string, o MountOptions) error {
	return Mount(ctx, device, target, o)
}

// Unmount calls the function of that name.
func (Local) Unmount(ctx context.Context, target string, o UnmountOptions) error {
	return Unmount(ctx, target, o)
}

// Grow calls the function of that name.
func (Local) Grow(ctx context.Context, device, target string) error { return Grow(ctx, device, target) }

// Trim calls the function of that name.
func (Local) Trim(ctx context.Context, target string) (units.Bytes, error) { return Trim(ctx, target) }

// Sync calls the function of that name.
func (Local) Sync(ctx context.Context, target string) error { return Sync(ctx, target) }

// Space calls SpaceAt.
func (Local) Space(target string) (Space, error) { return SpaceAt(target) }

// Mounts calls the function of that name.
func (Local) Mounts(device blockdev.Number) ([]MountPoint, error) { return Mounts(device) }

// Holders calls the function of that name.
func (Local) Holders(ctx context.Context, device blockdev.Number) ([]Holder, error) {
	return Holders(ctx, device)
}

// NeedsRecovery calls the function of that name.
func (Local) NeedsRecovery(device string) (bool, error) { return NeedsRecovery(device) }

// Inodes calls the function of that name.
func (Local) Inodes(device, target string) (uint64, error) { return Inodes(device, target) }

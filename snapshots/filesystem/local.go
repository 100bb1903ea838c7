package filesystem

import (
	"context"

	"thinctl/blockdev"
	"thinctl/units"
)

// Local has the functions of this package as methods, for the file systems of this
// host.
type Local struct{}

// Format calls the function of that name, as all methods do.
func (Local) Format(ctx context.Context, device string, o FormatOptions) error {
	return Format(ctx, device, o)
}

func (Local) Slim(ctx context.Context, device string) error { return Slim(ctx, device) }

func (Local) Mount(ctx context.Context, device, target string, o MountOptions) error {
	return Mount(ctx, device, target, o)
}

func (Local) Unmount(ctx context.Context, target string, o UnmountOptions) error {
	return Unmount(ctx, target, o)
}

func (Local) Grow(ctx context.Context, device, target string) error { return Grow(ctx, device, target) }

func (Local) Trim(ctx context.Context, target string) (units.Bytes, error) { return Trim(ctx, target) }

func (Local) Sync(ctx context.Context, target string) error { return Sync(ctx, target) }

func (Local) Space(target string) (Space, error) { return SpaceAt(target) }

func (Local) Mounts(device blockdev.Number) ([]MountPoint, error) { return Mounts(device) }

func (Local) Holders(ctx context.Context, device blockdev.Number) ([]Holder, error) {
	return Holders(ctx, device)
}

func (Local) NeedsRecovery(device string) (bool, error) { return NeedsRecovery(device) }

func (Local) Inodes(device, target string) (uint64, error) { return Inodes(device, target) }

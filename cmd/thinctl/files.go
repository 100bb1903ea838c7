package main

import (
	"context"

	"thinctl/dm"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// fileSystems is what the command line does with the file systems on volumes.
type fileSystems interface {
	thinpool.Trimmer
	Format(ctx context.Context, device string, o filesystem.FormatOptions) error
	Mount(ctx context.Context, device, target string, o filesystem.MountOptions) error
	Unmount(ctx context.Context, target string) error
	Grow(ctx context.Context, device, target string) error
	Mounts(dev dm.Dev) ([]filesystem.MountPoint, error)
	Holders(ctx context.Context, dev dm.Dev) ([]filesystem.Holder, error)
}

type localFiles struct{}

var _ fileSystems = localFiles{}

func (localFiles) Format(ctx context.Context, device string, o filesystem.FormatOptions) error {
	return filesystem.Format(ctx, device, o)
}

func (localFiles) Mount(ctx context.Context, device, target string, o filesystem.MountOptions) error {
	return filesystem.Mount(ctx, device, target, o)
}

func (localFiles) Unmount(ctx context.Context, target string) error {
	return filesystem.Unmount(ctx, target, filesystem.UnmountOptions{})
}

func (localFiles) Grow(ctx context.Context, device, target string) error {
	return filesystem.Grow(ctx, device, target)
}

func (localFiles) Mounts(dev dm.Dev) ([]filesystem.MountPoint, error) {
	return filesystem.Mounts(dev.Major, dev.Minor)
}

func (localFiles) Holders(ctx context.Context, dev dm.Dev) ([]filesystem.Holder, error) {
	return filesystem.Holders(ctx, dev.Major, dev.Minor)
}

func (localFiles) Trim(ctx context.Context, mountPoint string) (units.Bytes, error) {
	return filesystem.Trim(ctx, mountPoint)
}

// MountPoint returns the first read-write mount: another cannot be trimmed.
func (localFiles) MountPoint(_ context.Context, major, minor uint32) (string, error) {
	mounts, err := filesystem.Mounts(major, minor)
	for _, mount := range mounts {
		if !mount.ReadOnly {
			return mount.Path, err
		}
	}
	return "", err
}

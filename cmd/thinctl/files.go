package main

import (
	"context"

	"thinctl/blockdev"
	"thinctl/internal/containerd"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// fileSystems is what the command line does with the file systems on volumes.
type fileSystems interface {
	containerd.Files
	thinpool.Trimmer
}

type localFiles struct{ filesystem.Local }

var _ fileSystems = localFiles{}

// MountPoint returns the first read-write mount: another cannot be trimmed.
func (localFiles) MountPoint(_ context.Context, device blockdev.Number) (string, error) {
	mounts, err := filesystem.Mounts(device)
	for _, mount := range mounts {
		if !mount.ReadOnly {
			return mount.Path, err
		}
	}
	return "", err
}

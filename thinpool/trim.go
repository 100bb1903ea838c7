package thinpool

import (
	"context"
	"errors"

	"thinctl/blockdev"
	"thinctl/units"
)

// Trimmer discards the free space of the volumes' file systems. Package filesystem has
// the implementation.
type Trimmer interface {
	// MountPoint returns the mount point of the device, "" if it is not mounted.
	MountPoint(ctx context.Context, device blockdev.Number) (string, error)
	// Trim discards the free space of the file system mounted there.
	Trim(ctx context.Context, mountPoint string) (units.Bytes, error)
}

// Trimmed is the result of a trim.
type Trimmed struct {
	Volumes []TrimmedVolume
	// Pool is the space that became free in the pool. Host is the space that the data
	// file returned to the host's file system, 0 on a block device. Concurrent writes
	// reduce both.
	Pool units.Bytes
	Host units.Bytes
}

// TrimmedVolume is one volume of a trim.
type TrimmedVolume struct {
	Volume  string
	Trimmed units.Bytes // what its file system discarded, mapped or not
	Err     error
}

// Trim returns space that mounted file systems do not use to the pool, and
// through a loop device to the host. Removed volumes are reaped first.
func (p *Pool) Trim(ctx context.Context, trimmer Trimmer) (Trimmed, error) {
	var trimmed Trimmed
	before, err := p.Status(ctx)
	if err != nil {
		return trimmed, err
	}
	if !before.Active {
		_, _, err := p.kernelStatus(ctx)
		return trimmed, err
	}
	_, _, faults := p.Reap(ctx)
	volumes, err := p.Volumes(ctx)
	if err != nil {
		return trimmed, errors.Join(faults, err)
	}
	for _, volume := range volumes {
		if !volume.Active {
			continue
		}
		if err := ctx.Err(); err != nil {
			return trimmed, err
		}
		one := TrimmedVolume{Volume: volume.Name}
		mountPoint, err := trimmer.MountPoint(ctx, volume.Dev)
		if err == nil && mountPoint == "" {
			continue
		}
		if err == nil {
			one.Trimmed, err = trimmer.Trim(ctx, mountPoint)
		}
		one.Err = p.volumeFailed("trim", volume.Name, err)
		faults = errors.Join(faults, one.Err)
		trimmed.Volumes = append(trimmed.Volumes, one)
	}
	after, err := p.Status(ctx)
	if err != nil {
		return trimmed, errors.Join(faults, err)
	}
	trimmed.Pool = lessBy(before.Data.Used, after.Data.Used)
	if before.Data.File != nil && after.Data.File != nil {
		trimmed.Host = lessBy(before.Data.File.Allocated, after.Data.File.Allocated)
	}
	return trimmed, faults
}

func lessBy(before, after units.Bytes) units.Bytes { return before - min(before, after) }

package thinpool

import (
	"context"
	"errors"

	"thinctl/dm"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// errCommitted reports that the kernel committed while its last commit was read.
var errCommitted = errors.New("the pool has committed while its metadata was read")

// Freed returns the space that becomes free if all of the named volumes are removed, as
// UsageOptions.Freed does. It commits all earlier writes.
//
// For an active pool, Freed reads only the mappings of these volumes that no other volume
// shares. It reads them from the last commit on the disk, without a metadata snapshot and
// without a lock. The kernel overwrites no block of a commit before the next commit
// (dm-space-map-metadata.c, sm_metadata_new_block uses only blocks that are free in
// both). So the result is correct if the superblock has not changed after the read.
// Otherwise Freed tries again. It reads all metadata as Usage does if the superblock
// changes each time, or if another process holds a metadata snapshot.
func (p *Pool) Freed(ctx context.Context, names ...string) (units.Bytes, error) {
	const tries = 3
	for range tries {
		freed, err := p.freedNow(ctx, names)
		if err == nil || errors.Is(err, ErrNoVolume) || ctx.Err() != nil {
			return freed, p.failed("read the metadata of", err)
		}
		if !errors.Is(err, errCommitted) {
			break
		}
	}
	usage, err := p.Usage(ctx, UsageOptions{Freed: names})
	return usage.Freed, err
}

func (p *Pool) freedNow(ctx context.Context, names []string) (_ units.Bytes, err error) {
	record, err := p.Record(ctx)
	if err != nil {
		return 0, err
	}
	var ids []uint32
	for _, name := range names {
		volume, err := p.findVolume(ctx, "read", name)
		if err != nil {
			return 0, err
		}
		ids = append(ids, volume.ID)
	}
	// Without NoFlush the kernel commits (dm-thin.c, pool_status).
	if _, _, err := p.host.Kernel.Status(ctx, p.ref(), dm.StatusOptions{}); err != nil {
		return 0, err
	}
	file, err := p.host.Disks.Metadata(p.backingPath(record.Metadata), false)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	root, err := metadata.ReadSuperblock(file)
	if err != nil {
		return 0, err
	}
	if err := (&Reading{pool: p}).ours(root); err != nil {
		return 0, err
	}
	blocks, err := metadata.Freed(ctx, file, root, ids...)
	if now, unread := metadata.ReadSuperblock(file); unread != nil || now != root {
		return 0, errors.Join(errCommitted, err, unread)
	}
	return units.Bytes(blocks) * record.Block, err
}

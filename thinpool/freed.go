package thinpool

import (
	"context"
	"errors"

	"thinctl/dm"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// errCommitted: the kernel has committed while its last commit was read.
var errCommitted = errors.New("the pool has committed meanwhile")

// Freed returns what comes back when all of the volumes go, as
// UsageOptions.Freed does, and commits what was written so far.
//
// Of an active pool it reads no more than what these volumes have alone, from
// the commit on the disk, without a metadata snapshot and without a lock: the
// kernel overwrites nothing of a commit before the next one (dm-space-map-metadata.c,
// sm_metadata_new_block looks for what is free in both), so all that was read is
// true if the superblock is then what it was. If it is not, it tries again; if
// that goes on, or somebody holds a metadata snapshot, it reads all as Usage does.
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

package thinpool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// checkIdentity refuses metadata that is not this pool's, or not of the
// database's moment, before the kernel could change it. Above all it keeps the
// kernel from formatting metadata that has become blank.
func (p *Pool) checkIdentity(ctx context.Context, record store.Pool) error {
	path := p.backingPath(record.Metadata)
	refuse := func(kind error, detail, remedy string, err error) error {
		return &Error{Op: "activate", Object: p.object(), Kind: kind, Detail: path + ": " + detail, Remedy: remedy, Err: err}
	}
	restoring, err := exists(p.path(restoringFile))
	if err != nil {
		return err
	}
	if restoring {
		return refuse(ErrUnhealthy, "a repair was cut off while it wrote it", fmt.Sprintf("run `thinctl pool repair %s`", p.name), nil)
	}
	super, err := p.host.Disks.Superblock(path)
	switch {
	case errors.Is(err, metadata.ErrEmpty):
		return refuse(ErrUnhealthy, "the metadata is blank", "restore it from a copy; activating would make an empty pool of it", nil)
	case errors.Is(err, fs.ErrNotExist):
		if _, rebuilt := os.Lstat(p.path(rebuiltFile)); rebuilt == nil {
			return refuse(ErrUnhealthy, "a repair was cut off", fmt.Sprintf("run `thinctl pool repair %s`", p.name), err)
		}
		return refuse(ErrUnhealthy, "the metadata is not there", "put it back, or restore it from a copy", err)
	case err != nil:
		return refuse(ErrUnhealthy, "the metadata cannot be read", fmt.Sprintf("run `thinctl pool repair %s`", p.name), err)
	case super.UUID != p.id:
		return refuse(ErrSwapped, fmt.Sprintf("it carries the uuid %x, this pool has %s", super.UUID, p.id),
			"put this pool's own metadata back", nil)
	case super.DataBlockSize != record.Block.Sectors():
		return refuse(ErrDiverged, fmt.Sprintf("it has blocks of %s, this pool of %s", super.DataBlockSize.Bytes(), record.Block),
			"put this pool's own metadata back", nil)
	case super.NeedsCheck():
		return refuse(ErrNeedsCheck, "the kernel met an error while writing it", fmt.Sprintf("run `thinctl pool repair %s`", p.name), nil)
	}
	if err := p.notTruncated(record, super); err != nil {
		return err
	}
	var last uint64
	if err := p.db.View(ctx, func(tx *store.Tx) (err error) { last, err = tx.LastTx(); return err }); err != nil {
		return err
	}
	if super.TransactionID != last && super.TransactionID+1 != last {
		return refuse(ErrDiverged, fmt.Sprintf("it is at transaction %d, the database at %d", super.TransactionID, last),
			fmt.Sprintf("one of them was restored from a copy: run `thinctl pool check %s`", p.name), nil)
	}
	return nil
}

// notTruncated refuses files that are smaller than the kernel has known them.
func (p *Pool) notTruncated(record store.Pool, super metadata.Superblock) error {
	for _, file := range []struct {
		backing store.Backing
		known   units.Bytes
	}{
		{record.Data, units.Bytes(super.DataSpaceMap.Blocks) * record.Block},
		{record.Metadata, units.Bytes(super.MetadataSpaceMap.Blocks) * metadataBlock},
	} {
		if !file.backing.Loop {
			continue
		}
		usage, err := p.host.Disks.Usage(p.path(file.backing.Path))
		if err != nil {
			return p.failed("activate", err)
		}
		if usage.Apparent < file.known {
			return p.failed("activate", shrunk(p.path(file.backing.Path), usage.Apparent, file.known))
		}
	}
	return nil
}

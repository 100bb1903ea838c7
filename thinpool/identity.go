package thinpool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
)

// checkIdentity refuses metadata that is not this pool's, or not of the
// database's moment, before the kernel could change it. Above all it keeps the
// kernel from formatting metadata that has become blank.
func (p *Pool) checkIdentity(ctx context.Context, record store.Pool) (metadata.Superblock, error) {
	path := p.backingPath(record.Metadata)
	refuse := func(kind error, detail, remedy string, err error) (metadata.Superblock, error) {
		return metadata.Superblock{}, &Error{Op: "activate", Object: p.object(), Kind: kind, Detail: path + ": " + detail, Remedy: remedy, Err: err}
	}
	restoring, err := exists(p.path(restoringFile))
	if err != nil {
		return metadata.Superblock{}, err
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
	var last uint64
	if err := p.db.View(ctx, func(tx *store.Tx) (err error) { last, err = tx.LastTx(); return err }); err != nil {
		return super, err
	}
	if super.TransactionID != last && super.TransactionID+1 != last {
		return refuse(ErrDiverged, fmt.Sprintf("it is at transaction %d, the database at %d", super.TransactionID, last),
			fmt.Sprintf("one of them was restored from a copy: run `thinctl pool check %s`", p.name), nil)
	}
	return super, nil
}

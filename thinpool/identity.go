package thinpool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"thinctl/fault"
	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
)

// checkIdentity rejects metadata of another pool, or of another moment than the
// database, before the kernel can change it. Above all, it prevents the kernel from
// formatting blank metadata.
func (p *Pool) checkIdentity(ctx context.Context, record store.Pool) (super metadata.Superblock, err error) {
	path := p.backingPath(record.Metadata)
	refuse := func(e Error) error {
		e.Op, e.Object, e.Detail = "activate", p.object(), path+": "+e.Detail
		return &e
	}
	noMetadata := func(detail string, err error) error {
		return refuse(Error{Kind: fault.Unhealthy, Detail: detail, Err: err,
			Remedy: remedyNoMetadata, Cure: p.cure(CureDestroy)})
	}
	restoring, err := exists(p.path(restoringFile))
	if err != nil {
		return super, err
	}
	if restoring {
		return super, refuse(Error{Kind: fault.Unhealthy, Detail: "a repair was cut off while it wrote it",
			Cure: p.cure(CureRepair)})
	}
	super, err = p.host.Disks.Superblock(path)
	switch {
	case errors.Is(err, metadata.ErrEmpty):
		return super, noMetadata("the metadata is blank", nil)
	case errors.Is(err, fs.ErrNotExist):
		if _, rebuilt := os.Lstat(p.path(rebuiltFile)); rebuilt == nil {
			return super, refuse(Error{Kind: fault.Unhealthy, Detail: "a repair was cut off", Err: err,
				Cure: p.cure(CureRepair)})
		}
		return super, noMetadata("the metadata is not there", err)
	case err != nil:
		return super, noMetadata("the metadata cannot be read", err)
	case super.UUID != p.id:
		return super, refuse(Error{Kind: ErrSwapped, Remedy: remedyOtherMetadata,
			Detail: fmt.Sprintf("it carries the uuid %x, this pool has %s", super.UUID, p.id)})
	case super.DataBlockSize != record.Block.Sectors():
		return super, refuse(Error{Kind: ErrDiverged, Remedy: remedyOtherMetadata,
			Detail: fmt.Sprintf("it has blocks of %s, this pool of %s", super.DataBlockSize.Bytes(), record.Block)})
	case super.NeedsCheck():
		return super, refuse(Error{Kind: ErrNeedsCheck, Detail: "the kernel met an error while writing it",
			Cure: p.cure(CureRepair)})
	}
	known, err := p.records(ctx)
	if err != nil {
		return super, err
	}
	if differs := known.differs(offlineMoment(super)); differs != "" {
		return super, refuse(Error{Kind: ErrDiverged, Detail: differs, Err: errMoment, Cure: p.cure(CureCheck)})
	}
	return super, nil
}

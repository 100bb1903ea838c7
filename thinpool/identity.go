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
func (p *Pool) checkIdentity(ctx context.Context, record store.Pool) (metadata.Superblock, error) {
	path := p.backingPath(record.Metadata)
	refuse := func(kind error, detail, remedy string, err error) (metadata.Superblock, error) {
		return metadata.Superblock{}, &Error{Op: "activate", Object: p.object(), Kind: kind,
			Detail: path + ": " + detail, Remedy: remedy, Err: err}
	}
	restoring, err := exists(p.path(restoringFile))
	if err != nil {
		return metadata.Superblock{}, err
	}
	if restoring {
		return refuse(fault.Unhealthy, "a repair was cut off while it wrote it", p.repairIt(), nil)
	}
	super, err := p.host.Disks.Superblock(path)
	switch {
	case errors.Is(err, metadata.ErrEmpty):
		return refuse(fault.Unhealthy, "the metadata is blank", p.noMetadata(), nil)
	case errors.Is(err, fs.ErrNotExist):
		if _, rebuilt := os.Lstat(p.path(rebuiltFile)); rebuilt == nil {
			return refuse(fault.Unhealthy, "a repair was cut off", p.repairIt(), err)
		}
		return refuse(fault.Unhealthy, "the metadata is not there", p.noMetadata(), err)
	case err != nil:
		return refuse(fault.Unhealthy, "the metadata cannot be read", p.noMetadata(), err)
	case super.UUID != p.id:
		return refuse(ErrSwapped, fmt.Sprintf("it carries the uuid %x, this pool has %s", super.UUID, p.id),
			p.otherMetadata(), nil)
	case super.DataBlockSize != record.Block.Sectors():
		return refuse(ErrDiverged,
			fmt.Sprintf("it has blocks of %s, this pool of %s", super.DataBlockSize.Bytes(), record.Block),
			p.otherMetadata(), nil)
	case super.NeedsCheck():
		return refuse(ErrNeedsCheck, "the kernel met an error while writing it", p.repairIt(), nil)
	}
	known, err := p.records(ctx)
	if err != nil {
		return super, err
	}
	if differs := known.differs(offlineMoment(super)); differs != "" {
		return refuse(ErrDiverged, differs, p.checkIt(), errMoment)
	}
	return super, nil
}

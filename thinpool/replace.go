package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"

	"thinctl/dm"
	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// The names of rebuilt metadata until it replaces the damaged metadata. A file is
// replaced by renames. A device is overwritten, which takes longer: from its rename to
// restoringFile on, the rebuilt file is the valid metadata. After a kill, the next
// repair writes the device again.
const (
	rebuiltFile   = "metadata.rebuilt"   // unfinished; may be deleted
	copyingFile   = "metadata.copying"   // unfinished copy of the damaged device; may be deleted
	restoringFile = "metadata.restoring" // verified; the metadata on the device is not valid
)

// dropUnfinished removes the unfinished files of a killed repair.
func (p *Pool) dropUnfinished() error {
	return errors.Join(p.host.Disks.Remove(p.path(rebuiltFile)), p.host.Disks.Remove(p.path(copyingFile)))
}

// deviceRebuildFile returns the file for the rebuilt metadata of a device. It returns an
// error if the device is not the pool's or the host has too little free space. The file
// has the size that the kernel uses of the device.
func (p *Pool) deviceRebuildFile(backing store.Backing) (store.Backing, error) {
	path := p.backingPath(backing)
	device, err := p.host.Disks.Device(path)
	if err != nil {
		return backing, err
	}
	if device.Size < backing.Size {
		return backing, p.refused(wanted{op: "repair"}, Error{Kind: ErrShrunk, Remedy: remedyLargerDevice,
			Detail: shrunk(path, device.Size, backing.Size).Error()})
	}
	super, err := p.host.Disks.Superblock(path)
	if err != nil {
		return backing, err
	}
	if super.UUID != p.id {
		return backing, &Error{Op: "repair", Object: p.object(), Kind: ErrSwapped,
			Detail: fmt.Sprintf("%s carries the uuid %x, this pool has %s", path, super.UUID, p.id),
			Remedy: remedyOwnMetadata}
	}
	size := min(device.Size-device.Size%metadataBlock, dm.MaxMetadata)
	space, err := p.host.Disks.Space(p.dir)
	if err != nil {
		return backing, err
	}
	if space.Available < 2*size {
		return backing, &Error{Op: "repair", Object: p.object(), Kind: ErrReserve,
			Detail: fmt.Sprintf("the rebuilt metadata and a copy of the damaged need %s, %s's file system has %s",
				2*size, p.dir, space.Available),
			Remedy: "free some of it"}
	}
	return store.Backing{Path: metadataFile, Size: size}, nil
}

// replaceOnDevice keeps a copy of the damaged device, and then writes the
// rebuilt file onto it.
func (p *Pool) replaceOnDevice(ctx context.Context, device, kept string, backing store.Backing) error {
	copying := p.path(copyingFile)
	err := p.makeFile(copying, backing, backing.Size, false)
	if err == nil {
		err = p.host.Disks.CopyMetadata(ctx, device, copying, backing.Size)
	}
	if err == nil {
		err = p.host.Disks.Rename(copying, kept) // only a complete copy gets that name
	}
	if err != nil {
		return errors.Join(err, p.dropUnfinished())
	}
	if err := p.host.Disks.Rename(p.path(rebuiltFile), p.path(restoringFile)); err != nil {
		return err
	}
	return p.restore(ctx, device, backing.Size)
}

// restore writes restoringFile to the device, reads it back, and deletes the file.
func (p *Pool) restore(ctx context.Context, device string, size units.Bytes) error {
	err := p.host.Disks.CopyMetadata(ctx, p.path(restoringFile), device, size)
	if err == nil {
		var faults []metadata.Finding
		if faults, err = p.unsound(ctx, device); err == nil && len(faults) > 0 {
			err = fmt.Errorf("%s does not read as it was written: %v", device, faults)
		}
	}
	if err != nil {
		return &Error{Op: "repair", Object: p.object(), Err: err,
			Detail: fmt.Sprintf("%s is not whole; what belongs on it is %s", device, p.path(restoringFile)),
			Cure:   p.cure(CureRepairAgain)}
	}
	// The removal may be undone by a power failure. A rename is durable: the file must
	// not have the name restoringFile any more, since the device may be newer by then.
	if err := p.host.Disks.Rename(p.path(restoringFile), p.path(rebuiltFile)); err != nil {
		return err
	}
	return p.host.Disks.Remove(p.path(rebuiltFile))
}

// finishSwap finishes a repair that was killed while it replaced the metadata. It
// reports whether there was one.
func (p *Pool) finishSwap(ctx context.Context, options RepairOptions, repair *Repair) (bool, error) {
	record, err := p.Record(ctx)
	if err != nil {
		return false, err
	}
	from, cutOff, err := p.cutOffSwap(record)
	if err != nil || !cutOff && options.DryRun {
		return cutOff, err
	}
	if !cutOff {
		return false, p.dropUnfinished()
	}
	super, err := p.host.Disks.Superblock(from)
	if err != nil || super.UUID != p.id {
		return true, errors.Join(err, &Error{Op: "repair", Object: p.object(), Kind: ErrSwapped, Detail: from,
			Err: metadata.ErrOtherPool})
	}
	what := "put the rebuilt metadata in place"
	if !record.Metadata.Loop {
		what = "put the rebuilt metadata on " + p.backingPath(record.Metadata)
	}
	repair.Actions = append(repair.Actions, what)
	if options.DryRun {
		return true, nil
	}
	if record.Metadata.Loop {
		err = p.host.Disks.Rename(from, p.path(metadataFile))
	} else {
		err = p.finishRestore(ctx, p.backingPath(record.Metadata))
	}
	if err == nil {
		// The killed repair did not report the losses. A check of the copy shows them.
		repair.Damaged, err = p.lastKept()
	}
	return true, err
}

func (p *Pool) finishRestore(ctx context.Context, device string) error {
	usage, err := p.host.Disks.Usage(p.path(restoringFile))
	if err == nil {
		err = p.dropUnfinished()
	}
	if err != nil {
		return err
	}
	return p.restore(ctx, device, usage.Apparent)
}

// cutOffSwap finds the rebuilt metadata of a repair that was killed while it replaced
// the damaged metadata.
func (p *Pool) cutOffSwap(record store.Pool) (from string, cutOff bool, err error) {
	if !record.Metadata.Loop {
		from = p.path(restoringFile)
		cutOff, err = exists(from)
		return from, cutOff, err
	}
	from = p.path(rebuiltFile)
	if there, err := exists(p.path(metadataFile)); err != nil || there {
		return from, false, err
	}
	cutOff, err = exists(from)
	return from, cutOff, err
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

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

// What rebuilt metadata goes through on its way into the damaged one's place.
// A file gets there by renames. A device is written over, which takes its time:
// once the rebuilt file has its second name, it is what counts, and whoever
// comes next writes the device anew until that has worked.
const (
	rebuiltFile   = "metadata.rebuilt"   // being made; to be thrown away
	copyingFile   = "metadata.copying"   // of the damaged device, being made; to be thrown away
	restoringFile = "metadata.restoring" // verified; the device is of no use
)

// dropUnfinished removes what a killed repair was making.
func (p *Pool) dropUnfinished() error {
	return errors.Join(p.host.Disks.Remove(p.path(rebuiltFile)), p.host.Disks.Remove(p.path(copyingFile)))
}

// deviceRebuildFile says what file a device's metadata is rebuilt in, and refuses
// where the device is not the pool's or the host has no room. The file has the
// size that the kernel would use of the device.
func (p *Pool) deviceRebuildFile(backing store.Backing) (store.Backing, error) {
	path := p.backingPath(backing)
	device, err := p.host.Disks.Device(path)
	if err != nil {
		return backing, err
	}
	if device.Size < backing.Size {
		return backing, p.refused(wanted{op: "repair"}, ErrShrunk, shrunk(path, device.Size, backing.Size).Error(), p.largerDevice(), nil)
	}
	super, err := p.host.Disks.Superblock(path)
	if err != nil {
		return backing, err
	}
	if super.UUID != p.id {
		return backing, &Error{Op: "repair", Object: p.object(), Kind: ErrSwapped,
			Detail: fmt.Sprintf("%s carries the uuid %x, this pool has %s", path, super.UUID, p.id),
			Remedy: "put this pool's own metadata back"}
	}
	size := min(device.Size-device.Size%metadataBlock, dm.MaxMetadata)
	space, err := p.host.Disks.Space(p.dir)
	if err != nil {
		return backing, err
	}
	if space.Available < 2*size {
		return backing, &Error{Op: "repair", Object: p.object(), Kind: ErrReserve,
			Detail: fmt.Sprintf("the rebuilt metadata and a copy of the damaged need %s, %s's file system has %s", 2*size, p.dir, space.Available),
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
		err = p.host.Disks.Rename(copying, kept) // whole from the moment it has that name
	}
	if err != nil {
		return errors.Join(err, p.dropUnfinished())
	}
	if err := p.host.Disks.Rename(p.path(rebuiltFile), p.path(restoringFile)); err != nil {
		return err
	}
	return p.restore(ctx, device, backing.Size)
}

// restore writes the file that counts onto the device, reads it back, and takes
// the file's name away.
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
			Remedy: fmt.Sprintf("run `thinctl pool repair %s` again", p.name)}
	}
	// A file that comes back after a power cut must not have the name that
	// counts: by then the device may have gone on. A rename is durable.
	if err := p.host.Disks.Rename(p.path(restoringFile), p.path(rebuiltFile)); err != nil {
		return err
	}
	return p.host.Disks.Remove(p.path(rebuiltFile))
}

// finishSwap ends a rebuild that was killed on its way into place. It reports
// whether there was one.
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
		return true, errors.Join(err, &Error{Op: "repair", Object: p.object(), Kind: ErrSwapped, Detail: from, Err: metadata.ErrOtherPool})
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
		// What was lost was told to nobody; the copy shows it.
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

// cutOffSwap finds the rebuilt metadata that a killed repair was putting into
// place.
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

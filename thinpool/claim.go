package thinpool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/disk"
	"thinctl/loopback"
	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// claims holds the pool's two disks. They stay open from the check that they are the
// pool's until the kernel has a table on them.
type claims struct {
	record   store.Pool // with the present paths and identities
	super    metadata.Superblock
	metadata Disk
	data     Disk
	// mark is the mark to write to the data. Its generation is 0 if the data disk has
	// no space for a mark.
	mark mark
}

func (c *claims) close() error {
	var faults []error
	for _, held := range []Disk{c.metadata, c.data} {
		if held != nil {
			faults = append(faults, held.Close())
		}
	}
	return errors.Join(faults...)
}

// claim finds the pool's disks and checks that they and their contents are the pool's
// and of the same moment. It writes nothing. An accepted path replaces an expected disk
// if its contents prove that it is the pool's.
func (p *Pool) claim(ctx context.Context, record store.Pool, accept []string) (_ *claims, err error) {
	c := &claims{record: record}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if err := p.accept(c, accept); err != nil {
		return nil, err
	}
	if err := p.claimMetadata(ctx, c); err != nil {
		return nil, err
	}
	acceptedData := c.data != nil
	if err := p.claimData(c); err != nil {
		return nil, err
	}
	if err := p.checkMark(c, acceptedData); err != nil {
		return nil, err
	}
	return c, p.noteIdentities(c)
}

// claimActive opens the disks of an active pool by the device numbers in the kernel's
// table, and compares their identities with the record.
func (p *Pool) claimActive(ctx context.Context, op string, record store.Pool) (_ *claims, err error) {
	c := &claims{record: record}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	lines, err := p.host.Kernel.Table(ctx, p.ref())
	if err != nil {
		return nil, p.failed(op, err)
	}
	if len(lines) == 0 {
		return nil, &Error{Op: op, Object: p.object(), Kind: fault.Unhealthy, Detail: "its device has no table",
			Cure: p.cure(CureActivate)}
	}
	table, err := dm.ParseThinPool(lines[0])
	if err != nil {
		return nil, p.failed(op, err)
	}
	if c.metadata, err = p.openActive(p.metadataWanted(op, record), table.Metadata); err != nil {
		return nil, err
	}
	c.data, err = p.openActive(p.dataWanted(op, record), table.Data)
	return c, err
}

// openActive opens one disk of an active pool.
func (p *Pool) openActive(w wanted, number blockdev.Number) (Disk, error) {
	if w.backing.Loop {
		held, err := p.host.Disks.Open(p.path(w.backing.Path))
		return held, p.failed(w.op, err)
	}
	all, err := p.hostDisks()
	if err != nil {
		return nil, p.unlisted(w, err)
	}
	for _, device := range all {
		if blockdev.Number(device.Number) != number {
			continue
		}
		if w.backing.Identity.Compare(device.Identity) == disk.Different {
			return nil, p.refused(w, Error{Kind: ErrForeign, Err: device.Err, Cure: p.cure(CureAttachExpected),
				Detail: fmt.Sprintf("%s is expected, the kernel's table uses %s", w, describe(device.Path, device))})
		}
		return p.openFound(w, device)
	}
	return nil, p.refused(w, Error{Kind: ErrGone, Cure: p.cure(CureAttachAgain),
		Detail: fmt.Sprintf("%s is expected, block device %s of the kernel's table is gone", w, number)})
}

// claimMetadata opens the metadata and checks its superblock.
func (p *Pool) claimMetadata(ctx context.Context, c *claims) (err error) {
	backing := &c.record.Metadata
	switch {
	case c.metadata != nil:
	case backing.Loop:
		c.metadata, err = p.host.Disks.Open(p.path(backing.Path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // checkIdentity reports a missing file
			return p.failed("activate", err)
		}
	default:
		// A device that a repair has partly written proves nothing. checkIdentity
		// reports the unfinished repair.
		restoring, err := exists(p.path(restoringFile))
		if err != nil {
			return err
		}
		if restoring {
			break
		}
		if c.metadata, err = p.findDisk(p.metadataWanted("activate", c.record)); err != nil {
			return err
		}
		p.noteDevice(backing, c.metadata)
	}
	if c.super, err = p.checkIdentity(ctx, c.record); err != nil {
		return err
	}
	known := units.Bytes(c.super.MetadataSpaceMap.Blocks) * metadataBlock
	return p.largeEnough("metadata", *backing, c.metadata, max(known, backing.Size))
}

// claimData opens the data disk. checkMark checks its contents.
func (p *Pool) claimData(c *claims) (err error) {
	backing := &c.record.Data
	w := p.dataWanted("activate", c.record)
	switch {
	case c.data != nil:
		return nil
	case backing.Loop:
		path := p.path(backing.Path)
		c.data, err = p.host.Disks.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return p.refused(w, Error{Kind: ErrGone, Detail: path + " does not exist", Err: err,
				Remedy: remedyNoData, Cure: p.cure(CureDestroy)})
		}
		return p.failed("activate", err)
	case !backing.Identity.Known() && c.record.Generation == 0:
		// An older version created this pool without a mark, and the disk has no
		// identity. Only the path is recorded.
		if c.data, err = p.host.Disks.Open(backing.Path); err != nil {
			return p.refused(w, Error{Kind: ErrGone, Detail: fmt.Sprintf("%s cannot be opened", w), Err: err,
				Remedy: "attach it again, then retry"})
		}
		return nil
	}
	if c.data, err = p.findDisk(w); err == nil {
		p.noteDevice(backing, c.data)
	}
	return err
}

// noteDevice records the present path of a device. It keeps the recorded path while
// that leads to the device.
func (p *Pool) noteDevice(backing *store.Backing, held Disk) {
	if same, err := held.IsAt(backing.Path); err != nil || !same {
		backing.Path = held.About().Path
	}
}

// checkMark compares the mark behind the data with the database, and prepares the next
// mark.
func (p *Pool) checkMark(c *claims, accepted bool) error {
	record, about := c.record, c.data.About()
	w := p.dataWanted("activate", record)
	need := max(record.Data.Size, sizeInKernel(record, c.super)) + areaOfMark(record)
	if !accepted || !record.Data.Loop { // writeGeneration grows the file
		if err := p.largeEnough("data", record.Data, c.data, need); err != nil {
			return err
		}
	}
	m, found, err := readMark(c.data, record.Data.Size)
	if err != nil {
		return p.refused(w, Error{Kind: fault.Unhealthy, Detail: describe(about.Path, about) + " cannot be read",
			Err: err, Remedy: "read the kernel's log for its errors"})
	}
	here, known := describe(about.Path, about), record.Generation
	if record.Data.Loop {
		here = about.Path
	}
	switch {
	case found && m.Pool != p.id:
		return p.refused(w, Error{Kind: ErrForeign, Remedy: "put this pool's own data back",
			Detail: fmt.Sprintf("%s holds the data of pool %s, this is pool %s", here, m.Pool, p.id)})
	case accepted:
	case !found && known > 0:
		return p.refused(w, Error{Kind: ErrForeign,
			Detail: fmt.Sprintf("%s is expected with this pool's mark of generation %d, %s has none: "+
				"its contents were replaced", w, known, here),
			Remedy: "put this pool's own data back", Cure: p.cureAt(CureAccept, about.Path)})
	case found && m.Generation < known:
		return p.refused(w, Error{Kind: ErrDiverged,
			Detail: fmt.Sprintf("%s is of generation %d, the database of %d: it was restored from an older copy",
				here, m.Generation, known),
			Remedy: "put the newest copy back", Cure: p.cureAt(CureAcceptOlder, about.Path)})
	case found && known > 0 && m.Generation > known+1: // known+1: an activation was killed
		return p.refused(w, Error{Kind: ErrDiverged, Err: errOldDatabase, Cure: p.cure(CureCheck),
			Detail: fmt.Sprintf("%s is of generation %d, the database of %d", here, m.Generation, known)})
	}
	c.mark = mark{Pool: p.id, Generation: known + 1, Offset: record.Data.Size}
	if accepted || known == 0 {
		c.mark.Generation = max(known, m.Generation) + 1
	}
	if !record.Data.Loop && about.Size < record.Data.Size+markArea {
		c.mark.Generation = 0
	}
	return nil
}

// sizeInKernel returns the pool's data size in the kernel's metadata.
func sizeInKernel(record store.Pool, super metadata.Superblock) units.Bytes {
	return units.Bytes(super.DataSpaceMap.Blocks) * record.Block
}

// areaOfMark returns the size of the area behind the data that is for the mark.
func areaOfMark(record store.Pool) units.Bytes {
	if record.Generation == 0 {
		return 0
	}
	return markArea
}

// largeEnough returns an error for a disk that is smaller than the pool needs.
func (p *Pool) largeEnough(role string, backing store.Backing, held Disk, need units.Bytes) error {
	about := held.About()
	if about.Size >= need {
		return nil
	}
	w := wanted{op: "activate", role: role, backing: backing}
	e := Error{Kind: ErrShrunk, Detail: shrunk(about.Path, about.Size, need).Error(), Remedy: remedyLargerDevice}
	switch {
	case backing.Loop && role == "data":
		e.Remedy, e.Cure = remedyLargerFile, p.cureAt(CureAcceptShort, about.Path)
	case backing.Loop:
		e.Remedy = remedyLargerFile
		e.Cure = Cure{Code: CureTruncate, Pool: p.name, Path: about.Path, Size: need}
	}
	return p.refused(w, e)
}

// noteIdentities adds to the record the identities by which the devices are found.
func (p *Pool) noteIdentities(c *claims) error {
	if c.record.Data.Loop && c.record.Metadata.Loop {
		return nil
	}
	all, err := p.hostDisks()
	if err != nil {
		return p.failed("activate", err)
	}
	for _, part := range []struct {
		backing *store.Backing
		held    Disk
	}{{&c.record.Data, c.data}, {&c.record.Metadata, c.metadata}} {
		if !part.backing.Loop {
			part.backing.Identity = part.backing.Identity.Or(unique(part.held.About(), all))
		}
	}
	return nil
}

// writeGeneration marks the data with the next generation. Then it writes the
// generation and the present paths and identities of the disks to the database. A kill in
// between leaves the mark one generation ahead; the next activation writes it again.
func (p *Pool) writeGeneration(ctx context.Context, c *claims) error {
	if size := c.mark.Offset + markArea; c.record.Data.Loop && c.data.About().Size < size {
		if err := p.growFile(c.record, c.record.Data, size); err != nil {
			return err
		}
	}
	if err := p.writeMark(c.data, c.mark); err != nil {
		return err
	}
	return p.db.Update(ctx, func(tx *store.Tx) error {
		record, err := tx.Pool()
		if err != nil {
			return err
		}
		record.Generation = c.mark.Generation
		for _, part := range []struct {
			to   *store.Backing
			from store.Backing
		}{{&record.Data, c.record.Data}, {&record.Metadata, c.record.Metadata}} {
			part.to.Path, part.to.Identity = part.from.Path, part.from.Identity
		}
		c.record = record
		return tx.PutPool(record)
	})
}

// writeMark writes a mark, if there is one to be written.
func (p *Pool) writeMark(held Disk, m mark) error {
	if m.Generation == 0 {
		return nil
	}
	if err := held.Write(m.encode(), m.slot()); err != nil {
		return fmt.Errorf("mark the data: %w", err)
	}
	return nil
}

// checkPaths returns an error if a path does not lead to the checked disk any more. It
// runs just before a table is loaded.
func (p *Pool) checkPaths(c *claims) error {
	for _, part := range []struct {
		w    wanted
		held Disk
	}{{p.dataWanted("activate", c.record), c.data}, {p.metadataWanted("activate", c.record), c.metadata}} {
		path := p.path(part.w.backing.Path)
		if !part.w.backing.Loop {
			path = part.w.backing.Path
		}
		same, err := part.held.IsAt(path)
		if err == nil && same && !part.w.backing.Loop {
			var now disk.Identity
			now, err = p.host.Disks.Identity(path)
			same = now == part.held.About().Identity
		}
		if err != nil || !same {
			return p.refused(part.w, Error{Kind: ErrForeign, Detail: path + " changed while the pool was activated",
				Err: err, Remedy: "retry"})
		}
	}
	return nil
}

// attach returns the block devices below the pool: its disks, or the loop devices of
// its files. It attaches a loop device to a file that has none.
func (p *Pool) attach(ctx context.Context, c *claims, undo *rollback) (meta, data blockdev.Number, err error) {
	meta, err = p.attachOne(ctx, c.record, c.record.Metadata, c.metadata, undo)
	if err != nil {
		return meta, data, err
	}
	data, err = p.attachOne(ctx, c.record, c.record.Data, c.data, undo)
	return meta, data, err
}

func (p *Pool) attachOne(
	ctx context.Context, record store.Pool, backing store.Backing, held Disk, undo *rollback,
) (blockdev.Number, error) {
	if !backing.Loop {
		return blockdev.Number(held.About().Number), nil
	}
	path := p.path(backing.Path)
	before, err := p.host.Loops.Find(ctx, path)
	if err != nil {
		return blockdev.Number{}, err
	}
	loop, err := p.host.Loops.Attach(ctx, path,
		loopback.AttachOptions{Reuse: true, Buffered: !record.DirectIO, SectorSize: backing.Sector})
	if err != nil {
		return blockdev.Number{}, err
	}
	if len(before) == 0 {
		undo.add(func(ctx context.Context) error { return p.host.Loops.Detach(ctx, loop) })
	}
	device, inode, err := held.Inode()
	if err == nil && loop.Backing != (loopback.FileID{Device: device, Inode: inode}) {
		err = &Error{
			Op:     "activate",
			Object: p.object(),
			Kind:   ErrForeign,
			Detail: path + " was replaced while the pool was activated",
			Remedy: "retry",
		}
	}
	if err != nil {
		return blockdev.Number{}, err
	}
	size, err := p.host.Loops.Refresh(ctx, loop)
	if err == nil && size < backing.Size {
		err = shrunk(loop.Path, size, backing.Size)
	}
	return blockdev.Number(loop.Number), err
}

// errOldDatabase reports that the data was activated after the copy of the database was made.
var errOldDatabase = errors.New("the database was restored from an older copy")

func shrunk(path string, have, want units.Bytes) error {
	return fmt.Errorf("%s has %s, the pool needs %s", path, have, want)
}

// readSuperblock reads the superblock past the page cache, because the page cache does
// not have the kernel pool's writes.
func (p *Pool) readSuperblock(held Disk) (metadata.Superblock, error) {
	path := held.About().Path
	super, err := p.host.Disks.Superblock(path)
	if err != nil {
		return super, err
	}
	same, err := held.IsAt(path)
	if err == nil && !same {
		err = fmt.Errorf("%s leads to another disk now", path)
	}
	return super, err
}

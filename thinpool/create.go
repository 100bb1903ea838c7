package thinpool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/internal/disk"
	"thinctl/internal/filelock"
	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// Create makes a pool under root and activates it. Until its last step, a
// rename, nothing counts: what a kill leaves is cleared away by the next
// Create or Sweep, what a failure leaves by Create itself.
func Create(ctx context.Context, host Host, root, name string, options CreateOptions) (_ *Pool, err error) {
	if err := Sweep(ctx, host, root); err != nil {
		return nil, err
	}
	if _, err := PlanCreate(ctx, host, root, name, options); err != nil {
		return nil, err // before anything is made, the root too
	}
	if err := makeRoot(host, root); err != nil {
		return nil, err
	}
	lock, err := lockRoot(ctx, root)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	plan, err := PlanCreate(ctx, host, root, name, options)
	if err != nil {
		return nil, err
	}
	id := newUUID()
	p := newPool(host, filepath.Join(root, creatingPrefix+id.String()+"-"+name), name)
	p.id = id
	defer p.db.Close() // the pool goes on under its final name
	undo := newRollback(ctx)
	defer func() { err = p.failed("create", errors.Join(err, undo.unless(err == nil))) }()
	undo.add(p.dismantle)
	if err := p.build(ctx, plan); err != nil {
		return nil, err
	}
	if err := host.Disks.Rename(p.dir, plan.Dir); err != nil {
		return nil, err
	}
	final := newPool(host, plan.Dir, name)
	final.id = id
	return final, nil
}

func makeRoot(host Host, root string) error {
	if _, err := os.Stat(root); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		return err
	}
	if err := host.Disks.MakeDir(root); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// lockRoot keeps makers and destroyers of pools apart. Whoever has it knows
// that folders of theirs have no living owner.
func lockRoot(ctx context.Context, root string) (*filelock.Lock, error) {
	return filelock.Acquire(ctx, filepath.Join(root, ".lock"), filelock.Range{})
}

// build makes the pool in its temporary folder.
func (p *Pool) build(ctx context.Context, plan Plan) error {
	options := plan.options
	disks := p.host.Disks
	if err := disks.MakeDir(p.dir); err != nil {
		return err
	}
	record := store.Pool{
		UUID: p.id.String(), Name: p.name, Created: p.host.now(),
		Data: plan.Data, Metadata: plan.Metadata, Block: plan.Block, BaseSize: plan.BaseSize, LowWater: plan.LowWater,
		SkipZeroing: options.SkipZeroing, ErrorIfFull: options.ErrorIfFull, Reserve: plan.Reserve,
		Activated: true, DirectIO: !options.Buffered, Preallocated: options.Preallocate, Generation: 1,
	}
	// First of all the record: the clean-up after a kill reads from it which
	// devices were being made into a pool.
	if err := p.db.Create(ctx, record); err != nil {
		return err
	}
	for _, file := range []struct {
		backing store.Backing
		size    units.Bytes
	}{{plan.Metadata, plan.Metadata.Size}, {plan.Data, plan.Data.Size + markArea}} {
		if file.backing.Loop {
			if err := p.makeFile(p.path(file.backing.Path), file.backing, file.size, options.Preallocate); err != nil {
				return err
			}
		}
	}
	if err := disks.MakeDir(p.path(mountsDir)); err != nil {
		return err
	}
	c, err := p.claimNew(plan, record)
	if err != nil {
		return err
	}
	err = p.format(ctx, c)
	if err = errors.Join(err, c.close()); err != nil {
		return err
	}
	if record, err = p.noteSectors(ctx, record); err != nil {
		return err
	}
	status, err := p.start(ctx, record, ActivateOptions{})
	if err == nil && (status.Mode != dm.ModeWrite || status.TransactionID != 0 || !p.hasSizes(status, record)) {
		err = fmt.Errorf("the new pool came up in mode %s at transaction %d with %d data and %d metadata blocks",
			status.Mode, status.TransactionID, status.TotalData, status.TotalMetadata)
	}
	return err
}

// claimNew opens the disks that a pool is to be made on. They must be those that
// the plan looked at.
func (p *Pool) claimNew(plan Plan, record store.Pool) (_ *claims, err error) {
	c := &claims{record: record, mark: mark{Pool: p.id, Generation: record.Generation, Offset: record.Data.Size}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	for _, one := range []struct {
		backing store.Backing
		planned blockdev.Number
		held    *Disk
	}{{record.Metadata, plan.metadata, &c.metadata}, {record.Data, plan.data, &c.data}} {
		path := one.backing.Path
		if one.backing.Loop {
			path = p.path(path)
		}
		if *one.held, err = p.host.Disks.Open(path); err != nil {
			return nil, err
		}
		about := (*one.held).About()
		if blockdev.Number(about.Number) != one.planned || one.backing.Identity.Compare(about.Identity) == disk.Different {
			return nil, &Error{Op: "create", Object: p.object(), Kind: ErrForeign,
				Detail: fmt.Sprintf("%s became another device, %s, while the pool was made", path, describe(path, about)), Remedy: "retry"}
		}
	}
	return c, nil
}

// format lets the kernel write new metadata, and puts the pool's uuid in the
// superblock. The kernel keeps the field but offers no way to set it, so it is
// set while the pool is down. The data is marked.
func (p *Pool) format(ctx context.Context, c *claims) error {
	// The kernel formats metadata whose first block is zero, and nothing else.
	if !c.record.Metadata.Loop {
		if err := c.metadata.Write(make([]byte, metadataBlock), 0); err != nil {
			return err
		}
	}
	if err := p.writeMark(c.data, c.mark); err != nil {
		return err
	}
	keep := newRollback(ctx) // dismantle detaches
	meta, data, err := p.attach(ctx, c, keep)
	if err != nil {
		return err
	}
	if _, err := p.host.Kernel.Create(ctx, poolDeviceName(p.name), poolDeviceUUID(p.id.String())); err != nil {
		return nameTaken(poolDeviceName(p.name), err)
	}
	if err := p.verify(c); err != nil {
		return err
	}
	if _, err := p.loadAndResume(ctx, p.ref(), p.table(c.record, meta, data), dm.LoadOptions{}, dm.ResumeOptions{Private: true}); err != nil {
		return err
	}
	// No lock of a pool is held: it does not count before its folder is renamed.
	err = p.host.closeWait().await(ctx, func() error {
		err := p.removeDevice(ctx, p.ref(), dm.RemoveOptions{})
		var open *openDevices
		if errors.As(err, &open) {
			err = openError("create", p.object(), open)
		}
		return err
	})
	if err != nil {
		return err
	}
	return p.host.Disks.Stamp(c.metadata.About().Path, p.id)
}

// noteSectors records the sector sizes that the loop devices got.
func (p *Pool) noteSectors(ctx context.Context, record store.Pool) (store.Pool, error) {
	for _, backing := range []*store.Backing{&record.Data, &record.Metadata} {
		if !backing.Loop {
			continue
		}
		loops, err := p.host.Loops.Find(ctx, p.path(backing.Path))
		if err != nil {
			return record, err
		}
		if len(loops) == 0 {
			return record, fmt.Errorf("%s is not behind a loop device any more", p.path(backing.Path))
		}
		info, err := p.host.Loops.Info(ctx, loops[0])
		if err != nil {
			return record, err
		}
		backing.Sector = info.SectorSize
	}
	return record, p.db.Update(ctx, func(tx *store.Tx) error { return tx.PutPool(record) })
}

// dismantle takes away everything of a pool: devices, loops, files, folder. It
// may be repeated after a kill at any point. The database goes last of the
// files, since it says which devices are the pool's.
func (p *Pool) dismantle(ctx context.Context) error {
	if _, err := os.Lstat(p.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	record, err := p.Record(ctx)
	known := err == nil
	if !known {
		record = store.Pool{Data: store.Backing{Path: dataFile, Loop: true}, Metadata: store.Backing{Path: metadataFile, Loop: true}}
	}
	if err := p.removeDevices(ctx); err != nil {
		return err
	}
	if err := p.detach(ctx, record); err != nil {
		return err
	}
	if known && !record.Metadata.Loop {
		if err := p.forgetDevice(p.backingPath(record.Metadata)); err != nil {
			return err
		}
	}
	if known && !record.Data.Loop {
		if err := p.forgetData(record); err != nil {
			return err
		}
	}
	return p.removeFiles()
}

// forgetData wipes the mark of a data device, if it is this pool's.
func (p *Pool) forgetData(record store.Pool) error {
	held, err := p.host.Disks.Open(p.backingPath(record.Data))
	if err != nil {
		return nil // a disk that is gone or dead does not keep a pool from being destroyed
	}
	defer held.Close()
	if !p.marked(held, record.Data.Size) {
		return nil
	}
	return held.Write(make([]byte, markArea), record.Data.Size)
}

// forgetDevice wipes the superblock of a metadata device, if it is this
// pool's: stamped with its uuid, or new and not stamped yet.
func (p *Pool) forgetDevice(path string) error {
	super, err := p.host.Disks.Superblock(path)
	switch {
	case errors.Is(err, metadata.ErrEmpty), errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case super.UUID == p.id, super.UUID == uuid{} && super.TransactionID == 0 && super.Time == 0:
		return p.host.Disks.Wipe(path, 0, metadataBlock)
	}
	return nil
}

func (p *Pool) removeFiles() error {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return err
	}
	if err := p.clearFolder(p.LayersDir()); err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() != databaseFile {
			if err := p.host.Disks.Remove(p.path(entry.Name())); err != nil {
				return err
			}
		}
	}
	if err := p.host.Disks.Remove(p.path(databaseFile)); err != nil {
		return err
	}
	return p.host.Disks.Remove(p.dir)
}

// clearFolder removes the files of a folder, which need not be there.
func (p *Pool) clearFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		err = errors.Join(err, p.host.Disks.Remove(filepath.Join(dir, entry.Name())))
	}
	return err
}

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

// Create makes a pool under root and activates it. The pool exists after the last step,
// a rename. If Create fails, it removes all that it made. If it is killed, the next Create
// or Sweep does.
func Create(ctx context.Context, host Host, root, name string, options CreateOptions) (_ *Pool, err error) {
	if err := Sweep(ctx, host, root); err != nil {
		return nil, err
	}
	if _, err := PlanCreate(ctx, host, root, name, options); err != nil {
		return nil, err // before anything is made, even the root directory
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
	defer p.db.Close() // the pool is opened again under its final name
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

// makeRoot makes the root directory and its parents, unless it exists.
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

// lockRoot takes the lock of the root directory. Only one process at a time creates or
// destroys pools, so the lock's owner can remove temporary directories that it finds.
func lockRoot(ctx context.Context, root string) (*filelock.Lock, error) {
	return filelock.Acquire(ctx, filepath.Join(root, ".lock"), filelock.Range{})
}

// build makes the pool in its temporary directory.
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
	// The record comes first: after a kill, dismantle finds the pool's devices in it.
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
		err = fmt.Errorf("the new pool was activated in mode %s at transaction %d with %d data and %d metadata blocks",
			status.Mode, status.TransactionID, status.TotalData, status.TotalMetadata)
	}
	return err
}

// claimNew opens the disks of a pool that is being created. They must be the disks that
// the plan has checked.
func (p *Pool) claimNew(plan Plan, record store.Pool) (_ *claims, err error) {
	c := &claims{record: record, mark: mark{Pool: p.id, Generation: record.Generation, Offset: record.Data.Size}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	for _, part := range []struct {
		backing store.Backing
		planned blockdev.Number
		held    *Disk
	}{{record.Metadata, plan.metadata, &c.metadata}, {record.Data, plan.data, &c.data}} {
		path := part.backing.Path
		if part.backing.Loop {
			path = p.path(path)
		}
		if *part.held, err = p.host.Disks.Open(path); err != nil {
			return nil, err
		}
		about := (*part.held).About()
		if blockdev.Number(about.Number) != part.planned ||
			part.backing.Identity.Compare(about.Identity) == disk.Different {
			return nil, &Error{
				Op:     "create",
				Object: p.object(),
				Kind:   ErrForeign,
				Detail: fmt.Sprintf("%s became another device, %s, while the pool was made",
					path, describe(path, about)),
				Remedy: "retry",
			}
		}
	}
	return c, nil
}

// format marks the data, lets the kernel write new metadata, and writes the pool's uuid
// to the superblock. The kernel keeps the field but cannot set it, so format writes it
// while the pool has no device.
func (p *Pool) format(ctx context.Context, c *claims) error {
	// The kernel formats metadata only if its first block is zero.
	if !c.record.Metadata.Loop {
		if err := c.metadata.Write(make([]byte, metadataBlock), 0); err != nil {
			return err
		}
	}
	if err := p.writeMark(c.data, c.mark); err != nil {
		return err
	}
	keep := newRollback(ctx) // never run: dismantle detaches the loop devices
	meta, data, err := p.attach(ctx, c, keep)
	if err != nil {
		return err
	}
	if _, err := p.host.Kernel.Create(ctx, poolDeviceName(p.name), poolDeviceUUID(p.id.String())); err != nil {
		return nameTaken(poolDeviceName(p.name), err)
	}
	if err := p.checkPaths(c); err != nil {
		return err
	}
	table := p.table(c.record, meta, data)
	if _, err := p.loadAndResume(ctx, p.ref(), table, dm.LoadOptions{}, dm.ResumeOptions{Private: true}); err != nil {
		return err
	}
	// The pool's lock is not held: the pool exists only after its directory is renamed.
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

// noteSectors records the sector sizes of the loop devices.
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
			return record, fmt.Errorf("%s has no loop device any more", p.path(backing.Path))
		}
		info, err := p.host.Loops.Info(ctx, loops[0])
		if err != nil {
			return record, err
		}
		backing.Sector = info.SectorSize
	}
	return record, p.db.Update(ctx, func(tx *store.Tx) error { return tx.PutPool(record) })
}

// dismantle removes a pool's devices, loop devices, files and directory. It can be
// repeated after a kill at any point. It removes the database last of the files, because
// the database lists the pool's devices.
func (p *Pool) dismantle(ctx context.Context) error {
	if _, err := os.Lstat(p.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	record, err := p.Record(ctx)
	known := err == nil
	if !known {
		record = store.Pool{
			Data:     store.Backing{Path: dataFile, Loop: true},
			Metadata: store.Backing{Path: metadataFile, Loop: true},
		}
	}
	if err := p.removeDevices(ctx); err != nil {
		return err
	}
	if err := p.detach(ctx, record); err != nil {
		return err
	}
	if known && !record.Metadata.Loop {
		if err := p.wipeMetadata(p.backingPath(record.Metadata)); err != nil {
			return err
		}
	}
	if known && !record.Data.Loop {
		if err := p.wipeData(record); err != nil {
			return err
		}
	}
	return p.removeFiles()
}

// wipeData wipes the mark on a data device if it is this pool's.
func (p *Pool) wipeData(record store.Pool) error {
	held, err := p.host.Disks.Open(p.backingPath(record.Data))
	if err != nil {
		return nil // a pool can be destroyed without its data disk
	}
	defer held.Close()
	if !p.marked(held, record.Data.Size) {
		return nil
	}
	return held.Write(make([]byte, markArea), record.Data.Size)
}

// wipeMetadata wipes the superblock of a metadata device if it is this pool's: it has
// the pool's uuid, or it is new and has no uuid yet.
func (p *Pool) wipeMetadata(path string) error {
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

// removeFiles removes the pool's directory with its files, the database last.
func (p *Pool) removeFiles() error {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return err
	}
	if err := p.clearDir(p.LayersDir()); err != nil {
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

// clearDir removes the files in a directory, if it exists.
func (p *Pool) clearDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		err = errors.Join(err, p.host.Disks.Remove(filepath.Join(dir, entry.Name())))
	}
	return err
}

package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/filelock"
	"thinctl/thinpool/store"
)

// RepairAt repairs the pool of that name under root. If its database is gone or
// cannot be read, it is restored first: from its copy, otherwise from the metadata
// and what the pool's directory holds. A damaged database is kept aside.
func RepairAt(ctx context.Context, host Host, root, name string, options RepairOptions) (repair Repair, err error) {
	if err := CheckPoolName(name); err != nil {
		return Repair{}, err
	}
	p := newPool(host, filepath.Join(root, name), name)
	defer func() { err = errors.Join(err, p.db.Close()) }()
	restored, err := p.rescue(ctx, options)
	if err != nil || options.DryRun && len(restored) > 0 { // other findings need the database
		return Repair{Actions: restored}, err
	}
	opened, err := Open(ctx, host, root, name)
	if err != nil {
		return Repair{Actions: restored}, err
	}
	repair, err = opened.Repair(ctx, options)
	repair.Actions = append(restored, repair.Actions...)
	return repair, errors.Join(err, opened.Close(ctx))
}

// rescue restores a database that cannot be read. It returns its actions, none if the
// database is sound or there is no pool.
//
// A kill before the rename leaves the old database, or none, and the next repair begins
// again. The new database is valid from the rename on. One that was made from the
// metadata has no volumes yet: [Pool.reconcile] makes them.
func (p *Pool) rescue(ctx context.Context, o RepairOptions) (actions []string, err error) {
	broken := p.broken(ctx)
	if broken == nil || errors.Is(broken, store.ErrNoDatabase) && !p.lostDatabase() && o.MetadataDevice == "" {
		return nil, nil // Open reports it
	}
	if !errors.Is(broken, store.ErrNoDatabase) && !errors.Is(broken, store.ErrCorrupt) {
		return nil, p.failed("repair", broken)
	}
	if there, err := exists(p.dir); err != nil || !there && o.DryRun {
		return []string{"make " + p.dir}, p.failed("repair", err)
	} else if !there {
		if err := errors.Join(makeRoot(p.host, filepath.Dir(p.dir)), p.host.Disks.MakeDir(p.dir)); err != nil {
			return nil, p.failed("repair", err)
		}
	}
	turn, err := p.lockReading(ctx)
	if err != nil {
		return nil, err
	}
	defer turn.Release()
	var lock *filelock.Lock
	if lock, err = p.lock(ctx); err != nil {
		return nil, err
	}
	defer lock.Release()
	if p.broken(ctx) == nil { // another repair has restored it in the meantime
		return nil, nil
	}
	if actions, err = p.makeDatabase(ctx, o); err != nil || o.DryRun {
		return actions, p.failed("repair", err)
	}
	if there, err := exists(p.path(databaseFile)); err != nil {
		return actions, p.failed("repair", err)
	} else if there {
		kept := p.freeTimeName(brokenDatabase, "")
		if err := p.host.Disks.Rename(p.path(databaseFile), kept); err != nil {
			return actions, p.failed("repair", err)
		}
		actions = append(actions, "keep the damaged database as "+kept)
	}
	return actions, p.failed("repair", p.host.Disks.Rename(p.path(freshDatabase), p.path(databaseFile)))
}

// broken returns the error of reading the database, nil if it is sound.
func (p *Pool) broken(ctx context.Context) error {
	return errors.Join(p.db.Verify(ctx), p.db.Close())
}

// makeDatabase makes a new database beside the pool's own.
func (p *Pool) makeDatabase(ctx context.Context, o RepairOptions) ([]string, error) {
	record, reached, unknown := p.rebuildRecord(ctx, o)
	content, err := p.copied(ctx, record.UUID)
	switch {
	case err == nil:
		action := []string{"restore the database from " + p.path(copyFile)}
		if o.DryRun {
			return action, nil
		}
		return action, p.host.Disks.WriteFile(p.path(freshDatabase), content)
	case unknown != nil:
		return nil, unknown
	}
	action := []string{"rebuild the database from the metadata"}
	if !errors.Is(err, os.ErrNotExist) {
		action = append(action, fmt.Sprintf("leave the copy of the database: %v", err))
	}
	if o.DryRun {
		return action, nil
	}
	if err := p.host.Disks.Remove(p.path(freshDatabase)); err != nil {
		return action, err
	}
	fresh := store.At(p.path(freshDatabase))
	if err := fresh.Create(ctx, record); err != nil {
		return action, err
	}
	err = fresh.Update(ctx, func(tx *store.Tx) error { return tx.Forget(reached) })
	return action, errors.Join(err, fresh.Close())
}

// copied returns the database's content from its copy. It rejects the copy of another
// pool if uuid, the uuid of the metadata, is not "".
func (p *Pool) copied(ctx context.Context, uuid string) ([]byte, error) {
	compressed, err := os.ReadFile(p.path(copyFile))
	if err != nil {
		return nil, err
	}
	content, err := store.Expand(compressed)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "thinctl-copy-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, databaseFile)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		return nil, err
	}
	db := store.At(name)
	defer db.Close()
	if err := db.Verify(ctx); err != nil {
		return nil, err
	}
	err = db.View(ctx, func(tx *store.Tx) error {
		record, err := tx.Pool()
		if err == nil && uuid != "" && record.UUID != uuid {
			err = fmt.Errorf("it is of the pool with uuid %s, the metadata has %s", record.UUID, uuid)
		}
		return err
	})
	return content, err
}

// rebuildRecord makes a pool's record, and returns the transaction id that the pool has
// reached. Its sources are the superblock of the metadata, the files in the directory,
// the device of an active pool, and the options. All other settings get the defaults of
// a new pool.
func (p *Pool) rebuildRecord(ctx context.Context, o RepairOptions) (store.Pool, uint64, error) {
	defaults := CreateOptions{}.withDefaults()
	record := store.Pool{Name: p.name, Created: p.host.now(), BaseSize: defaults.BaseSize, Reserve: *defaults.Reserve,
		Activated: true, DirectIO: true}
	var err error
	if record.Metadata, err = p.findBacking(metadataFile, o.MetadataDevice, CureNameMetadata); err != nil {
		return record, 0, err
	}
	if record.Data, err = p.findBacking(dataFile, o.DataDevice, CureNameData); err != nil {
		return record, 0, err
	}
	from, err := p.superblockOf(record)
	if err != nil {
		return record, 0, err
	}
	super, err := p.host.Disks.Superblock(from)
	if err != nil {
		return record, 0, &Error{Op: "repair", Object: p.object(), Kind: fault.Unhealthy,
			Detail: from + ": the metadata cannot be read", Err: err, Remedy: p.nothingLeft()}
	}
	if super.UUID == (uuid{}) {
		return record, 0, &Error{Op: "repair", Object: p.object(), Kind: ErrSwapped,
			Detail: from + ": the metadata carries no uuid of a pool", Remedy: p.nothingLeft()}
	}
	p.id = super.UUID
	record.UUID, record.Block = p.id.String(), super.DataBlockSize.Bytes()
	reached := offlineMoment(super)
	record.Data.Size, record.Metadata.Size = reached.data, reached.metadata
	record.LowWater = CreateOptions{DataSize: record.Data.Size, Block: record.Block}.lowWater()
	if err := p.asActive(ctx, &record, &reached); err != nil {
		return record, 0, err
	}
	if record.Generation, err = p.markedData(record); err != nil {
		return record, 0, err
	}
	return record, reached.transaction, nil
}

// markedData returns the generation of the mark behind the data, 0 if a file of the
// pool's own directory has none. A device that a user has named must carry it: the
// name alone does not prove that the device is the pool's.
func (p *Pool) markedData(record store.Pool) (uint64, error) {
	w := p.dataWanted("repair", record)
	path := p.backingPath(record.Data)
	held, err := p.host.Disks.Open(path)
	if record.Data.Loop && errors.Is(err, os.ErrNotExist) {
		return 0, nil // the next activation reports it
	}
	if err != nil {
		return 0, p.refused(w, Error{Kind: ErrGone, Detail: path + " cannot be opened", Err: err,
			Cure: p.cureAt(CureNameData, p.dir)})
	}
	defer held.Close()
	m, found, err := readMark(held, record.Data.Size)
	switch {
	case err != nil:
		return 0, p.refused(w, Error{Kind: fault.Unhealthy, Detail: path + " cannot be read", Err: err,
			Remedy: "read the kernel's log for its errors"})
	case found && m.Pool == p.id:
		return m.Generation, nil
	case record.Data.Loop:
		return 0, nil
	}
	return 0, p.refused(w, Error{Kind: ErrForeign, Cure: p.cureAt(CureNameData, p.dir),
		Detail: fmt.Sprintf("%s does not carry the mark of pool %s behind %s of data", path, p.id, record.Data.Size)})
}

// superblockOf returns the path of the valid metadata.
func (p *Pool) superblockOf(record store.Pool) (string, error) {
	from, cutOff, err := p.cutOffSwap(record)
	if cutOff {
		return from, err
	}
	return p.backingPath(record.Metadata), err
}

// findBacking finds where a pool's data or metadata is.
func (p *Pool) findBacking(file, device string, cure CureCode) (store.Backing, error) {
	if device != "" {
		return store.Backing{Path: device}, nil
	}
	names := []string{file}
	if file == metadataFile {
		names = append(names, rebuiltFile)
	}
	for _, name := range names {
		if there, err := exists(p.path(name)); err != nil || there {
			return store.Backing{Path: file, Loop: true}, err
		}
	}
	return store.Backing{}, &Error{Op: "repair", Object: p.object(), Kind: fault.Unhealthy,
		Detail: fmt.Sprintf("%s is not there, nor a database that says where the pool's %s is", p.path(file), file),
		Cure:   p.cureAt(cure, p.dir)}
}

// asActive copies an active pool's state from the kernel: it is newer than the metadata
// on disk, and has more settings.
func (p *Pool) asActive(ctx context.Context, record *store.Pool, reached *moment) error {
	_, status, err := p.kernelStatus(ctx)
	if errors.Is(err, ErrInactive) || err == nil && status.Mode == dm.ModeFail {
		return nil
	}
	if err != nil {
		return err
	}
	lines, err := p.host.Kernel.Table(ctx, p.ref())
	if err != nil || len(lines) == 0 {
		return err
	}
	table, err := dm.ParseThinPool(lines[0])
	if err != nil {
		return err
	}
	reached.transaction = status.TransactionID
	record.Data.Size = times(status.TotalData, record.Block)
	record.Metadata.Size = times(status.TotalMetadata, metadataBlock)
	record.LowWater, record.SkipZeroing, record.ErrorIfFull = table.LowWater, table.SkipBlockZeroing, table.ErrorIfNoSpace
	return nil
}

package thinpool

import (
	"context"
	"errors"
	"fmt"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/filelock"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// RemoveOptions are the options of a removal.
type RemoveOptions struct {
	// Deferred removes a volume that is open: its name at once, its blocks when the
	// device is closed and the pool is reaped.
	Deferred bool
	// For must be the purpose that the volume is kept for.
	For string
	// Later leaves the blocks to a call of [Pool.ReapVolumes] or [Pool.Reap], so that
	// this call does not wait until they are discarded.
	Later bool
}

// Removal is the result of a removal.
type Removal struct {
	Volume Volume
	// Reaped reports that the blocks are free. Otherwise a tombstone waits for Reap.
	Reaped bool
	// Discarded is the part of the volume, from its start, whose blocks were discarded on
	// the data device.
	Discarded units.Bytes
}

// RemoveVolume deletes a volume, even if the pool or the host is full. The volume is gone
// when the tombstone is committed. A kill after that leaves blocks for [Pool.Reap], never
// a part of a volume.
func (p *Pool) RemoveVolume(ctx context.Context, name string, options RemoveOptions) (Removal, error) {
	removals, err := p.RemoveVolumes(ctx, []string{name}, options, nil)
	if len(removals) == 0 {
		return Removal{}, err
	}
	return removals[0], err
}

// RemoveVolumes deletes volumes, all or none of them, and writes documents in the same
// transaction if with is not nil. It returns the committed removals, even if an error
// kept their blocks from being freed.
func (p *Pool) RemoveVolumes(ctx context.Context, names []string, options RemoveOptions,
	with func(*Tx) error,
) ([]Removal, error) {
	var records []store.Volume
	var unlock func()
	openers := p.host.closeWait()
	err := openers.await(ctx, func() (err error) {
		records, unlock, err = p.holdRemovable(ctx, names, options)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer unlock()
	tombstones := make([]store.Tombstone, len(records))
	for i, record := range records {
		tombstones[i] = store.Tombstone{Volume: record, Removed: p.host.now()}
		tombstones[i].ReadOnly = false // its blocks are still to be discarded
	}
	if err := p.addTombstones(ctx, tombstones, wrap(with)); err != nil {
		if len(names) == 1 {
			return nil, p.volumeFailed("remove", names[0], err)
		}
		return nil, p.failed("remove volumes of", err)
	}
	var removals []Removal
	var faults []error
	for _, tombstone := range tombstones {
		if options.Later {
			p.idCache.drop(tombstone.Name)
			removals = append(removals, Removal{Volume: plainVolume(tombstone.Volume)})
			continue
		}
		removal, err := p.reapRemoved(ctx, tombstone, openers, options)
		removals, faults = append(removals, removal), append(faults, err)
	}
	return removals, errors.Join(faults...)
}

// holdRemovable locks the volumes if all of them may be removed.
func (p *Pool) holdRemovable(ctx context.Context, names []string,
	options RemoveOptions,
) (_ []store.Volume, unlock func(), err error) {
	records, unlock, err := p.holdVolumes(ctx, "remove", names)
	if err != nil {
		return nil, nil, err
	}
	_, status, err := p.kernelStatus(ctx)
	if err == nil {
		err = p.writable("remove a volume of", status)
	}
	for _, record := range records {
		if err == nil {
			err = p.removable(ctx, record, options)
		}
	}
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return records, unlock, nil
}

// removable returns an error if a volume is kept for another purpose or is open.
func (p *Pool) removable(ctx context.Context, record store.Volume, options RemoveOptions) error {
	if err := p.keptFor("remove", record, options.For); err != nil || options.Deferred {
		return err
	}
	info, err := p.host.Kernel.Info(ctx, p.volumeRef(record.ID))
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err == nil && info.OpenCount > 0 {
		refusal := openError("remove", p.volumeObject(record.Name),
			&openDevices{devices: []openDevice{{string(info.Name), info.Dev}}})
		if record.For == "" {
			refusal.Cure = p.cure(CureDeferred)
		}
		return refusal
	}
	return p.volumeFailed("remove", record.Name, err)
}

func (p *Pool) reapRemoved(ctx context.Context, tombstone store.Tombstone, openers *closeWait,
	options RemoveOptions,
) (Removal, error) {
	name := tombstone.Name
	p.idCache.drop(name)
	removal := Removal{Volume: plainVolume(tombstone.Volume)}
	try := func() (err error) {
		removal.Discarded, err = p.reap(ctx, tombstone)
		return err
	}
	err := try()
	if !options.Deferred && errors.Is(err, ErrOpen) { // it was opened since it was found closed
		err = openers.await(ctx, try)
	}
	if deviceInUse(err) {
		return removal, p.volumeFailed("remove", name, p.freeDeviceName(ctx, tombstone))
	}
	removal.Reaped = err == nil
	return removal, p.volumeFailed("give back the blocks of", name, err)
}

// removedName returns the device name of a removed volume. No volume's name begins so.
func (p *Pool) removedName(id uint32) dm.Name {
	return poolDeviceName(p.name) + dm.Name(fmt.Sprintf("-_removed-%d", id))
}

// freeDeviceName renames a device that is still in use, so that its name is free for the
// next volume of that name.
func (p *Pool) freeDeviceName(ctx context.Context, tombstone store.Tombstone) error {
	info, err := p.host.Kernel.Info(ctx, p.volumeRef(tombstone.ID))
	if err == nil && info.Name != p.removedName(tombstone.ID) {
		err = p.host.Kernel.Rename(ctx, p.volumeRef(tombstone.ID), p.removedName(tombstone.ID))
	}
	if errors.Is(err, fault.NotFound) {
		return nil // its last user has closed it in the meantime
	}
	return err
}

// addTombstones commits removals to the database. The pool's lock keeps them apart from a
// change that is being undone. Without documents it calls no function of the kernel.
func (p *Pool) addTombstones(ctx context.Context, tombstones []store.Tombstone, with func(*store.Tx) error) error {
	add := func(tx *store.Tx) error {
		for _, tombstone := range tombstones {
			if err := tx.AddTombstone(tombstone); err != nil {
				return err
			}
		}
		if with != nil {
			return with(tx)
		}
		return nil
	}
	if with != nil {
		return p.change(ctx, add)
	}
	lock, err := p.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Release()
	return p.droppingReaped(func(done []uint32) error {
		return p.db.Update(ctx, func(tx *store.Tx) error { return errors.Join(dropReaped(tx, done), add(tx)) })
	})
}

// reap frees the blocks of a tombstone. The volume's lock is held. Each step may be
// repeated after a kill.
func (p *Pool) reap(ctx context.Context, tombstone store.Tombstone) (units.Bytes, error) {
	discarded, err := p.discardThin(ctx, tombstone)
	if err != nil {
		return discarded, err
	}
	if err := p.deactivateThin(ctx, tombstone.Volume); err != nil {
		return discarded, err
	}
	lock, err := p.lock(ctx)
	if err != nil {
		return discarded, err
	}
	defer lock.Release()
	_, err = p.host.Kernel.Message(ctx, p.ref(), fmt.Sprintf("delete %d", tombstone.ID))
	if err != nil && !errors.Is(err, dm.ErrNoThinDevice) {
		return discarded, err
	}
	p.noteReaped(tombstone.ID)
	return discarded, nil
}

// discardThin discards the mapped blocks of a volume, so that its exclusive blocks become
// free on the data device and, through a loop device, on the host. The kernel's delete
// alone does not discard them on the data device.
func (p *Pool) discardThin(ctx context.Context, tombstone store.Tombstone) (units.Bytes, error) {
	_, status, err := p.kernelStatus(ctx)
	if err != nil || status.Discard != dm.DiscardPassdown {
		return 0, err
	}
	ref := p.volumeRef(tombstone.ID)
	info, err := p.host.Kernel.Info(ctx, ref)
	switch {
	case errors.Is(err, fault.NotFound),
		err == nil && (!info.ActiveTable || info.Suspended || info.ReadOnly && info.OpenCount == 0):
		name := p.removedName(tombstone.ID)
		if err == nil {
			name = info.Name
		}
		if info, err = p.activateThin(ctx, tombstone.Volume, name); err != nil {
			if errors.Is(err, dm.ErrNoThinDevice) {
				return 0, nil // the delete was done before a kill
			}
			return 0, err
		}
	case err != nil:
		return 0, err
	}
	if err := p.ownNode(ctx, tombstone.Volume, info); err != nil {
		return 0, err
	}
	if info.OpenCount > 0 {
		return 0, openError("remove", p.volumeObject(tombstone.Name),
			&openDevices{devices: []openDevice{{string(info.Name), info.Dev}}})
	}
	_, lines, err := p.host.Kernel.Status(ctx, ref, dm.StatusOptions{NoFlush: true})
	if err != nil || len(lines) == 0 {
		return 0, err
	}
	thin, err := dm.ParseThinStatus(lines[0])
	if err != nil || thin.Failed || thin.Mapped == 0 {
		return 0, err
	}
	// The kernel skips unmapped ranges by itself (dm-thin.c,
	// break_up_discard_bio); steps keep the call bounded.
	const step = 4 * units.GiB
	end := (thin.Highest + 1).Bytes()
	for at := units.Bytes(0); at < end; at += step {
		if err := ctx.Err(); err != nil {
			return at, err
		}
		if err := p.host.Disks.Discard(ctx, nodeOf(tombstone.For, info.Name), at, min(step, end-at)); err != nil {
			return at, err
		}
	}
	return end, nil
}

// Reap frees the blocks of removed volumes whose devices are closed. It returns the
// tombstones that it reaped, and those that are still in use. It waits for an open device
// once in the life of p.
func (p *Pool) Reap(ctx context.Context) (reaped, waiting []store.Tombstone, err error) {
	var tombstones []store.Tombstone
	err = p.db.View(ctx, func(tx *store.Tx) error {
		for tombstone, err := range tx.Tombstones() {
			if err != nil {
				return err
			}
			tombstones = append(tombstones, tombstone)
		}
		return nil
	})
	var faults []error
	try := func(reap func(context.Context, store.Tombstone) error, all []store.Tombstone) {
		for _, tombstone := range all {
			switch err := reap(ctx, tombstone); {
			case err == nil:
				reaped = append(reaped, tombstone)
			case inUse(err):
				waiting = append(waiting, tombstone)
			default:
				faults = append(faults, p.volumeFailed("give back the blocks of", tombstone.Name, err))
			}
		}
	}
	try(p.reapIfFree, tombstones)
	// Reap all closed devices first, then wait for the others.
	again := waiting
	waiting = nil
	try(p.reapWhenClosed(p.host.closeWait()), again)
	return reaped, waiting, errors.Join(err, errors.Join(faults...), p.writeReaped(ctx))
}

// ReapVolumes is Reap for the removed volumes of these device ids. It returns the ids that
// are still in use. The next change, NoteReaped or Close deletes the other tombstones from
// the database.
func (p *Pool) ReapVolumes(ctx context.Context, ids ...uint32) (waiting []uint32, err error) {
	var faults []error
	reap := p.reapWhenClosed(p.host.closeWait())
	for _, id := range ids {
		var tombstone store.Tombstone
		err := p.db.View(ctx, func(tx *store.Tx) (err error) {
			tombstone, err = tx.Tombstone(id)
			return err
		})
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err == nil {
			err = reap(ctx, tombstone)
		}
		switch {
		case err == nil:
		case inUse(err):
			waiting = append(waiting, id)
		default:
			faults = append(faults, p.volumeFailed("give back the blocks of", tombstone.Name, err))
		}
	}
	return waiting, errors.Join(faults...)
}

// deviceInUse reports whether a device is open. A lock that another process holds does
// not count.
func deviceInUse(err error) bool {
	return errors.Is(err, fault.Busy) && !errors.Is(err, filelock.ErrHeld)
}

// inUse reports whether a removed volume has to wait for its users.
func inUse(err error) bool {
	return errors.Is(err, fault.Busy) || errors.Is(err, filelock.ErrHeld)
}

// reapWhenClosed is reapIfFree with a wait until the device is closed. It does not wait
// again for a volume after a timeout: the daemon reaps often.
func (p *Pool) reapWhenClosed(openers *closeWait) func(context.Context, store.Tombstone) error {
	return func(ctx context.Context, tombstone store.Tombstone) error {
		p.reaped.Lock()
		vain := p.reaped.vain[tombstone.ID]
		p.reaped.Unlock()
		if vain {
			return p.reapIfFree(ctx, tombstone)
		}
		err := openers.await(ctx, func() error { return p.reapIfFree(ctx, tombstone) })
		p.reaped.Lock()
		defer p.reaped.Unlock()
		if inUse(err) {
			p.reaped.vain[tombstone.ID] = true
		} else {
			delete(p.reaped.vain, tombstone.ID)
		}
		return err
	}
}

func (p *Pool) reapIfFree(ctx context.Context, tombstone store.Tombstone) error {
	lock, err := filelock.Try(p.path(lockFile), volumeRange(tombstone.ID))
	if err != nil {
		return err
	}
	defer lock.Release()
	// Another process may have reaped it, and its id may be a new volume's.
	err = p.db.View(ctx, func(tx *store.Tx) error {
		_, err := tx.Tombstone(tombstone.ID)
		return err
	})
	if errors.Is(err, fault.NotFound) || err == nil && p.wasReaped(tombstone.ID) {
		return nil
	}
	if err == nil {
		_, err = p.reap(ctx, tombstone)
	}
	if deviceInUse(err) {
		err = errors.Join(err, p.freeDeviceName(ctx, tombstone))
	}
	return err
}

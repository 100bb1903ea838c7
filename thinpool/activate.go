package thinpool

import (
	"context"
	"errors"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/thinpool/store"
)

// Activate creates the pool's device unless it exists, and finishes or undoes the
// work of a killed process. It activates no volumes.
func (p *Pool) Activate(ctx context.Context) error {
	return p.ActivateWith(ctx, ActivateOptions{})
}

// ActivateWith is Activate with options.
func (p *Pool) ActivateWith(ctx context.Context, options ActivateOptions) error {
	_, err := p.activate(ctx, false, options)
	return err
}

// Reactivate activates a pool unless a user deactivated it. wanted is false if a user
// did. The pool's lock is held throughout, so no caller can deactivate the pool between
// the check and the activation.
func (p *Pool) Reactivate(ctx context.Context) (wanted bool, err error) {
	return p.activate(ctx, true, ActivateOptions{})
}

func (p *Pool) activate(ctx context.Context, ifWanted bool, options ActivateOptions) (wanted bool, err error) {
	lock, err := p.lock(ctx)
	if err != nil {
		return false, err
	}
	defer func() { lock.Release() }()
	record, err := p.Record(ctx)
	if err != nil {
		return false, p.failed("activate", err)
	}
	if ifWanted && !record.Activated {
		return false, nil
	}
	_, status, err := p.kernelStatus(ctx)
	switch {
	case errors.Is(err, ErrInactive):
		if status, err = p.start(ctx, record, options); err == nil {
			err = p.markActivated(ctx, true)
		}
	case err == nil && len(options.Accept) > 0:
		err = &Error{
			Op:     "activate",
			Object: p.object(),
			Kind:   fault.Invalid,
			Detail: "the pool is active, and its disks are in use",
			Cure:   p.cure(CureDeactivateFirst),
		}
	}
	if err != nil {
		return true, p.failed("activate", err)
	}
	return true, p.recover(ctx, status)
}

// Recover finishes or undoes the work of a killed process: an unfinished volume, a
// suspended origin, a reading of the metadata, an extension, and removed volumes whose
// blocks are not free yet. It needs an active pool.
func (p *Pool) Recover(ctx context.Context) error {
	lock, err := p.lock(ctx)
	if err != nil {
		return err
	}
	_, status, err := p.kernelStatus(ctx)
	if err == nil {
		err = p.recover(ctx, status)
	}
	lock.Release()
	if err != nil {
		return err
	}
	_, _, err = p.Reap(ctx)
	return err
}

// recover is the part of Recover that holds the pool's lock.
func (p *Pool) recover(ctx context.Context, status dm.PoolStatus) error {
	if err := p.resumeIfSuspended(ctx, p.ref()); err != nil {
		return p.failed("resume", err)
	}
	if err := p.writable("activate", status); err != nil {
		return err
	}
	if err := p.recoverChange(ctx, status); err != nil {
		return err
	}
	if err := p.releaseAfterKill(ctx); err != nil {
		return p.failed("release the metadata snapshot of", err)
	}
	_, err := p.finishExtension(ctx)
	return err
}

func (p *Pool) markActivated(ctx context.Context, activated bool) error {
	return p.db.Update(ctx, func(tx *store.Tx) error {
		record, err := tx.Pool()
		if err != nil || record.Activated == activated {
			return err
		}
		record.Activated = activated
		return tx.PutPool(record)
	})
}

// start creates and loads the pool's device. If it fails, it removes all that it created.
func (p *Pool) start(ctx context.Context, record store.Pool, options ActivateOptions) (_ dm.PoolStatus, err error) {
	c, err := p.claim(ctx, record, options.Accept)
	if err != nil {
		return dm.PoolStatus{}, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := p.makeMountsDir(); err != nil {
		return dm.PoolStatus{}, err
	}
	if err := p.writeGeneration(ctx, c); err != nil {
		return dm.PoolStatus{}, err
	}
	undo := newRollback(ctx)
	defer func() { err = errors.Join(err, undo.unless(err == nil)) }()
	meta, data, err := p.attach(ctx, c, undo)
	if err != nil {
		return dm.PoolStatus{}, err
	}
	table := p.table(c.record, meta, data)
	_, err = p.host.Kernel.Create(ctx, poolDeviceName(p.name), poolDeviceUUID(p.id.String()))
	if errors.Is(err, fault.Exists) {
		// A killed activation leaves this pool's device without a table.
		if _, missing := p.host.Kernel.Info(ctx, p.ref()); missing == nil {
			err = nil
		}
	}
	if err != nil {
		return dm.PoolStatus{}, nameTaken(poolDeviceName(p.name), err)
	}
	undo.add(func(ctx context.Context) error {
		_, err := p.host.Kernel.Remove(ctx, p.ref(), dm.RemoveOptions{})
		return err
	})
	if err := p.checkPaths(c); err != nil {
		return dm.PoolStatus{}, err
	}
	if _, err := p.loadAndResume(ctx, p.ref(), table, dm.LoadOptions{}, dm.ResumeOptions{Private: true}); err != nil {
		return dm.PoolStatus{}, err
	}
	_, status, err := p.kernelStatus(ctx)
	if err == nil && status.Mode == dm.ModeFail {
		err = p.writable("activate", status)
	}
	return status, err
}

func (p *Pool) table(record store.Pool, meta, data blockdev.Number) dm.ThinPool {
	return dm.ThinPool{
		Length:           record.Data.Size.Sectors(),
		Metadata:         meta,
		Data:             data,
		Block:            record.Block.Sectors(),
		LowWater:         record.LowWater,
		SkipBlockZeroing: record.SkipZeroing,
		ErrorIfNoSpace:   record.ErrorIfFull,
	}
}

// Deactivate removes the pool's device, the devices of its volumes, and its loop
// devices. It fails if a device is in use, and waits for a device that is open but not
// mounted.
func (p *Pool) Deactivate(ctx context.Context) error {
	return p.host.closeWait().await(ctx, func() error { return p.deactivate(ctx) })
}

func (p *Pool) deactivate(ctx context.Context) error {
	reading, err := p.awaitReading(ctx, "deactivate")
	if err != nil {
		return err
	}
	defer reading.Release()
	lock, err := p.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := p.stop(ctx, "deactivate"); err != nil {
		return p.failed("deactivate", err)
	}
	return p.failed("deactivate", p.markActivated(ctx, false))
}

// stop removes all devices of this pool from the kernel. It checks for devices in use
// first, so that a refusal changes nothing.
func (p *Pool) stop(ctx context.Context, op string) error {
	open, err := p.openDevices(ctx)
	if err != nil {
		return err
	}
	if open != nil {
		return openError(op, p.object(), open)
	}
	record, err := p.Record(ctx)
	if err != nil {
		return err
	}
	// Another process may have opened a device since the check.
	err = p.removeDevices(ctx)
	if err == nil {
		err = p.detach(ctx, record)
	}
	if errors.As(err, &open) {
		return openError(op, p.object(), open)
	}
	return err
}

func (p *Pool) detach(ctx context.Context, record store.Pool) error {
	var faults []error
	for _, backing := range []store.Backing{record.Data, record.Metadata} {
		if !backing.Loop {
			continue
		}
		loops, err := p.host.Loops.Find(ctx, p.path(backing.Path))
		faults = append(faults, err)
		for _, loop := range loops {
			faults = append(faults, p.detachOnce(ctx, loop))
		}
	}
	return errors.Join(faults...)
}

// ownEntry is a device of this pool in the kernel: the pool's own, or a volume's.
type ownEntry struct {
	dm.Entry
	id     uint32
	isPool bool
}

// ownDevices lists the kernel's devices that carry this pool's uuid.
func (p *Pool) ownDevices(ctx context.Context) ([]ownEntry, error) {
	entries, err := p.host.Kernel.List(ctx)
	if err != nil {
		return nil, err
	}
	var own []ownEntry
	for _, entry := range entries {
		if id, isPool, ok := ownDevice(p.id.String(), entry.UUID); ok {
			own = append(own, ownEntry{Entry: entry, id: id, isPool: isPool})
		}
	}
	return own, nil
}

package thinpool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"thinctl/dm"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// ExtendOptions give new total sizes; zero leaves a size as it is.
type ExtendOptions struct {
	Data     units.Bytes
	Metadata units.Bytes
	// DataMore and MetadataMore make Data and Metadata what is added to the size
	// that the pool has by then.
	DataMore     bool
	MetadataMore bool
	// ToDevice takes all of the block devices that a pool stands on, after they
	// were made larger.
	ToDevice bool
	DryRun   bool
}

// Extension says what an extension did, or would do.
type Extension struct {
	DataFrom, DataTo         units.Bytes
	MetadataFrom, MetadataTo units.Bytes
	StoodStill               time.Duration // how long IO waited
}

// Extend makes an active pool larger, while its volumes are in use. Metadata
// grows first, and by rule along with the data. Sizes never shrink.
func (p *Pool) Extend(ctx context.Context, options ExtendOptions) (Extension, error) {
	lock, err := p.lock(ctx)
	if err != nil {
		return Extension{}, err
	}
	defer lock.Release()
	_, status, err := p.kernelStatus(ctx)
	if err != nil {
		return Extension{}, err
	}
	if err := p.growable(status); err != nil {
		return Extension{}, err
	}
	if err := p.settleIfWritable(ctx, status); err != nil {
		return Extension{}, err
	}
	record, err := p.Record(ctx)
	if err != nil {
		return Extension{}, err
	}
	plan, err := p.planExtension(record, options)
	if err != nil || options.DryRun {
		return plan, p.failed("extend", err)
	}
	if plan.nothing() {
		// The same was asked for before, by a process that was killed.
		plan.StoodStill, err = p.finishExtension(ctx)
		return plan, p.failed("extend", err)
	}
	if err := p.noteSizes(ctx, plan.DataTo, plan.MetadataTo); err != nil {
		return Extension{}, p.failed("extend", err)
	}
	plan.StoodStill, err = p.finishExtension(ctx)
	if err != nil {
		err = errors.Join(err, p.revertExtension(ctx, plan))
	}
	return plan, p.failed("extend", err)
}

func (p *Pool) noteSizes(ctx context.Context, data, metadata units.Bytes) error {
	return p.db.Update(ctx, func(tx *store.Tx) error {
		record, err := tx.Pool()
		if err != nil {
			return err
		}
		record.Data.Size, record.Metadata.Size = data, metadata
		return tx.PutPool(record)
	})
}

// revertExtension notes the old data size again where the kernel did not take
// the new one, so that a host without room does not fail every activation from
// then on. What the files have grown by is left: holes, or room for the next
// try. Metadata has no way back once the kernel has seen it larger.
func (p *Pool) revertExtension(ctx context.Context, plan Extension) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	record, err := p.Record(ctx)
	if err != nil {
		return err
	}
	_, status, err := p.kernelStatus(ctx)
	if err != nil {
		return err
	}
	data, metadata := plan.DataTo, plan.MetadataTo
	if status.TotalData < uint64(data/record.Block) {
		data = plan.DataFrom
	}
	if status.TotalMetadata <= uint64(plan.MetadataFrom/metadataBlock) {
		metadata = plan.MetadataFrom
	}
	return p.noteSizes(ctx, data, metadata)
}

// growable refuses where growth would be skipped in silence. A pool that is
// out of metadata space reports itself read-only and is mended by growth.
func (p *Pool) growable(status dm.PoolStatus) error {
	if status.Mode == dm.ModeFail || status.NeedsCheck {
		return p.writable("extend", status)
	}
	return nil
}

func (p *Pool) settleIfWritable(ctx context.Context, status dm.PoolStatus) error {
	if status.Mode == dm.ModeReadOnly {
		return nil
	}
	return p.settle(ctx, status)
}

func (e Extension) nothing() bool { return e.DataFrom == e.DataTo && e.MetadataFrom == e.MetadataTo }

func (p *Pool) planExtension(record store.Pool, options ExtendOptions) (Extension, error) {
	plan := Extension{
		DataFrom: record.Data.Size, DataTo: target(record.Data.Size, options.Data, options.DataMore),
		MetadataFrom: record.Metadata.Size, MetadataTo: target(record.Metadata.Size, options.Metadata, options.MetadataMore),
	}
	invalid := func(err error) (Extension, error) {
		return plan, &Error{Op: "extend", Object: p.object(), Kind: ErrInvalid, Err: err}
	}
	if options.ToDevice {
		if record.Data.Loop && record.Metadata.Loop {
			return invalid(errors.New("the pool stands on files: give the new size with --data or --metadata"))
		}
		if err := p.sizesOfDevices(record, &plan); err != nil {
			return plan, err
		}
	}
	if plan.DataTo%record.Block != 0 {
		return invalid(fmt.Errorf("data size %s is not a multiple of the block size %s: use %s",
			plan.DataTo, record.Block, plan.DataTo.RoundUp(record.Block).Exact()))
	}
	if plan.DataTo > plan.DataFrom && options.Metadata == 0 && record.Metadata.Loop {
		plan.MetadataTo = max(plan.MetadataTo, metadataNeed(plan.DataTo, record.Block))
	}
	if plan.MetadataTo != plan.MetadataFrom {
		if err := checkMetadataSize(plan.MetadataTo); err != nil {
			return invalid(err)
		}
	}
	for _, size := range []struct {
		what     string
		from, to units.Bytes
		backing  store.Backing
	}{{"data", plan.DataFrom, plan.DataTo, record.Data}, {"metadata", plan.MetadataFrom, plan.MetadataTo, record.Metadata}} {
		if size.to < size.from {
			return invalid(fmt.Errorf("%s size %s is smaller than its %s: pools may only grow", size.what, size.to, size.from))
		}
		if size.backing.Loop || size.to == size.from {
			continue
		}
		device, err := p.host.Disks.Device(size.backing.Path)
		if err != nil {
			return plan, err
		}
		if device.Size < size.to {
			return invalid(fmt.Errorf("%s has %s, %s were asked for: make the device larger first", size.backing.Path, device.Size, size.to))
		}
	}
	return plan, nil
}

// target returns the size that is meant; a sum that does not fit becomes 0,
// which is refused as smaller.
func target(has, asked units.Bytes, more bool) units.Bytes {
	switch {
	case asked == 0:
		return has
	case !more:
		return asked
	case has+asked < has:
		return 0
	}
	return has + asked
}

func (p *Pool) sizesOfDevices(record store.Pool, plan *Extension) error {
	for _, target := range []struct {
		backing store.Backing
		unit    units.Bytes
		limit   units.Bytes
		size    *units.Bytes
	}{{record.Data, record.Block, ^units.Bytes(0), &plan.DataTo}, {record.Metadata, metadataBlock, dm.MaxMetadata, &plan.MetadataTo}} {
		if target.backing.Loop {
			continue
		}
		device, err := p.host.Disks.Device(target.backing.Path)
		if err != nil {
			return err
		}
		*target.size = max(*target.size, min(device.Size-device.Size%target.unit, target.limit))
	}
	return nil
}

// finishExtension brings files, loop devices and the kernel's table to the
// sizes in the database. It may be repeated after a kill at any point, and does
// nothing where all are there.
func (p *Pool) finishExtension(ctx context.Context) (time.Duration, error) {
	record, err := p.Record(ctx)
	if err != nil {
		return 0, err
	}
	pool, status, err := p.kernelStatus(ctx)
	if err != nil {
		return 0, err
	}
	if p.hasSizes(status, record) {
		return 0, nil
	}
	keep := newRollback(ctx) // loop devices that are attached here stay
	meta, err := p.growBacking(ctx, record, record.Metadata, keep)
	if err != nil {
		return 0, err
	}
	data, err := p.growBacking(ctx, record, record.Data, keep)
	if err != nil {
		return 0, err
	}
	lines, err := p.host.Kernel.Table(ctx, p.ref())
	if err != nil {
		return 0, err
	}
	table, err := dm.ParseThinPool(lines[0])
	if err != nil {
		return 0, err
	}
	if table.Metadata != meta || table.Data != data {
		return 0, &Error{Op: "extend", Object: p.object(), Kind: ErrDiverged,
			Detail: fmt.Sprintf("its device stands on %s and %s, its files are behind %s and %s", table.Metadata, table.Data, meta, data),
			Remedy: fmt.Sprintf("deactivate and activate it, then run `thinctl pool check %s`", p.name)}
	}
	table.Length = record.Data.Size.Sectors()
	if err := p.host.Kernel.Load(ctx, p.ref(), []dm.Target{table}, dm.LoadOptions{}); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := p.swapTable(ctx); err != nil {
		return 0, err
	}
	stood := time.Since(began)
	_, status, err = p.kernelStatus(ctx)
	if err == nil && !p.hasSizes(status, record) {
		err = &Error{Op: "extend", Object: p.object(), Kind: ErrUnhealthy,
			Detail: fmt.Sprintf("the kernel went on with %d data and %d metadata blocks (mode %s, device %s)",
				status.TotalData, status.TotalMetadata, status.Mode, pool.Dev),
			Remedy: fmt.Sprintf("run `thinctl pool check %s`", p.name)}
	}
	return stood, err
}

// swapTable suspends, so that the loaded table is taken, and resumes. The pool
// queues what its volumes send meanwhile, so nothing needs to be flushed.
func (p *Pool) swapTable(ctx context.Context) error {
	err := p.host.Kernel.Suspend(ctx, p.ref(), dm.SuspendOptions{NoFlush: true, SkipLockFS: true})
	if err != nil {
		return errors.Join(err, p.host.Kernel.Clear(context.WithoutCancel(ctx), p.ref()))
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	_, err = p.host.Kernel.Resume(clean, p.ref(), dm.ResumeOptions{Private: true})
	if err == nil {
		return nil
	}
	// The new table was refused and is gone; the old one has to run again.
	clear := p.host.Kernel.Clear(clean, p.ref())
	_, again := p.host.Kernel.Resume(clean, p.ref(), dm.ResumeOptions{Private: true})
	return errors.Join(err, clear, again)
}

func (p *Pool) growBacking(ctx context.Context, record store.Pool, backing store.Backing, keep *rollback) (dm.Dev, error) {
	if backing.Loop {
		path := p.path(backing.Path)
		usage, err := p.host.Disks.Usage(path)
		if err != nil {
			return dm.Dev{}, err
		}
		if err := p.growFile(record, backing, usage.Apparent); err != nil {
			return dm.Dev{}, err
		}
	}
	return p.attach(ctx, record, backing, keep)
}

// hasSizes tells whether the kernel's pool is as large as the record. Old
// kernels cap metadata one bitmap below the others.
func (p *Pool) hasSizes(status dm.PoolStatus, record store.Pool) bool {
	wantMetadata := uint64(min(record.Metadata.Size, 254*16320*metadataBlock) / metadataBlock)
	return status.TotalData == uint64(record.Data.Size/record.Block) && status.TotalMetadata >= wantMetadata
}

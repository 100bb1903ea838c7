package thinpool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// ExtendOptions has the new total sizes. A size of zero is not changed.
type ExtendOptions struct {
	Data     units.Bytes
	Metadata units.Bytes
	// DataMore and MetadataMore add Data and Metadata to the present sizes.
	DataMore     bool
	MetadataMore bool
	// ToDevice grows the pool to the sizes of its block devices.
	ToDevice bool
	DryRun   bool
}

// Extension is the result of an extension, or of its dry run.
type Extension struct {
	DataFrom, DataTo         units.Bytes
	MetadataFrom, MetadataTo units.Bytes
	Suspended                time.Duration // how long the pool was suspended
}

// Extend grows an active pool while its volumes are in use. It grows the metadata first.
// If only the data is to grow, a metadata file grows to the size that the data needs.
// Extend rejects a smaller size.
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
	if err := p.recoverIfWritable(ctx, status); err != nil {
		return Extension{}, err
	}
	record, err := p.Record(ctx)
	if err != nil {
		return Extension{}, err
	}
	c, err := p.claimActive(ctx, "extend", record)
	if err != nil {
		return Extension{}, err
	}
	defer c.close()
	plan, err := p.planExtension(c, options)
	if err != nil || options.DryRun {
		return plan, p.failed("extend", err)
	}
	if plan.nothing() {
		// A killed process may have left the same extension unfinished.
		plan.Suspended, err = p.finishExtension(ctx)
		return plan, p.failed("extend", err)
	}
	if err := p.growBackings(c, plan); err != nil {
		return Extension{}, p.failed("extend", err)
	}
	if err := p.noteSizes(ctx, plan.DataTo, plan.MetadataTo); err != nil {
		return Extension{}, p.failed("extend", err)
	}
	plan.Suspended, err = p.finishExtension(ctx)
	if err != nil {
		err = errors.Join(err, p.revertExtension(ctx, plan))
	}
	return plan, p.failed("extend", err)
}

// growBackings grows the files and writes the mark at the new end of the data. It runs
// before the database has the new sizes, so that there is a mark behind either size.
func (p *Pool) growBackings(c *claims, plan Extension) error {
	record := c.record
	if record.Metadata.Loop {
		if err := p.growFile(record, record.Metadata, plan.MetadataTo); err != nil {
			return err
		}
	}
	if plan.DataTo == plan.DataFrom {
		return nil
	}
	if record.Data.Loop {
		if err := p.growFile(record, record.Data, plan.DataTo+areaOfMark(record)); err != nil {
			return err
		}
	}
	return p.writeMark(c.data, mark{Pool: p.id, Generation: record.Generation, Offset: plan.DataTo})
}

// noteSizes writes the sizes of the data and the metadata to the database.
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

// revertExtension restores the old data size in the database if the kernel did not accept
// the new one. Otherwise each later activation would fail on a full host. The files stay
// larger, for the next attempt. Metadata cannot shrink once the kernel has used the new
// size.
func (p *Pool) revertExtension(ctx context.Context, plan Extension) error {
	ctx, cancel := contexts.Cleanup(ctx)
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

// growable returns an error if the kernel would skip the growth without an error. A pool
// without metadata space is read-only, and growth repairs it.
func (p *Pool) growable(status dm.PoolStatus) error {
	if status.Mode == dm.ModeFail || status.NeedsCheck {
		return p.writable("extend", status)
	}
	return nil
}

func (p *Pool) recoverIfWritable(ctx context.Context, status dm.PoolStatus) error {
	if status.Mode == dm.ModeReadOnly {
		return nil
	}
	return p.recoverChange(ctx, status)
}

func (e Extension) nothing() bool { return e.DataFrom == e.DataTo && e.MetadataFrom == e.MetadataTo }

func (p *Pool) planExtension(c *claims, options ExtendOptions) (Extension, error) {
	record := c.record
	plan := Extension{
		DataFrom:     record.Data.Size,
		DataTo:       target(record.Data.Size, options.Data, options.DataMore),
		MetadataFrom: record.Metadata.Size,
		MetadataTo:   target(record.Metadata.Size, options.Metadata, options.MetadataMore),
	}
	invalid := func(err error) (Extension, error) {
		return plan, &Error{Op: "extend", Object: p.object(), Kind: fault.Invalid, Err: err}
	}
	if options.ToDevice {
		if record.Data.Loop && record.Metadata.Loop {
			return plan, &Error{Op: "extend", Object: p.object(), Kind: fault.Invalid, Detail: "the pool is on files",
				Cure: p.cure(CureGiveSizes)}
		}
		sizesOfDevices(c, &plan)
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
		held     Disk
		behind   units.Bytes
	}{{"data", plan.DataFrom, plan.DataTo, record.Data, c.data, areaOfMark(record)},
		{"metadata", plan.MetadataFrom, plan.MetadataTo, record.Metadata, c.metadata, 0}} {
		if size.to < size.from {
			return invalid(fmt.Errorf("%s size %s is smaller than its %s: pools may only grow",
				size.what, size.to, size.from))
		}
		if size.backing.Loop || size.to == size.from {
			continue
		}
		if has := size.held.About().Size; has < size.to+size.behind {
			return invalid(fmt.Errorf("%s has %s, %s were asked for, with %s behind it: make the device larger first",
				size.held.About().Path, has.Exact(), size.to, size.behind))
		}
	}
	return plan, nil
}

// target returns the new size. It returns 0 if the sum overflows, which the caller rejects as
// smaller.
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

// sizesOfDevices raises the sizes of a plan to those of the pool's block devices.
func sizesOfDevices(c *claims, plan *Extension) {
	if !c.record.Data.Loop {
		plan.DataTo = max(plan.DataTo, SpaceOnDevice(c.data.About().Size, c.record))
	}
	if !c.record.Metadata.Loop {
		size := c.metadata.About().Size
		plan.MetadataTo = max(plan.MetadataTo, min(size-size%metadataBlock, dm.MaxMetadata))
	}
}

// SpaceOnDevice returns the largest data size of a pool on a data device: whole blocks, with
// the mark behind them.
func SpaceOnDevice(size units.Bytes, record store.Pool) units.Bytes {
	size -= min(size, areaOfMark(record))
	return size - size%max(record.Block, units.SectorSize)
}

// finishExtension brings files, loop devices and the kernel's table to the sizes in the
// database. It can be repeated after a kill at any point, and does nothing if all have
// these sizes.
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
	c, err := p.claimActive(ctx, "extend", record)
	if err != nil {
		return 0, err
	}
	defer c.close()
	keep := newRollback(ctx) // never run: loop devices that are attached here stay
	meta, data, err := p.attach(ctx, c, keep)
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
		return 0, &Error{
			Op:     "extend",
			Object: p.object(),
			Kind:   ErrDiverged,
			Detail: fmt.Sprintf("its device uses %s and %s, its files are behind %s and %s",
				table.Metadata, table.Data, meta, data),
			Cure: p.cure(CureReload),
		}
	}
	table.Length = record.Data.Size.Sectors()
	if err := p.host.Kernel.Load(ctx, p.ref(), []dm.Target{table}, dm.LoadOptions{}); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := p.swapTable(ctx); err != nil {
		return 0, err
	}
	suspended := time.Since(began)
	_, status, err = p.kernelStatus(ctx)
	if err == nil && !p.hasSizes(status, record) {
		err = &Error{Op: "extend", Object: p.object(), Kind: fault.Unhealthy,
			Detail: fmt.Sprintf("the kernel continued with %d data and %d metadata blocks (mode %s, device %s)",
				status.TotalData, status.TotalMetadata, status.Mode, pool.Dev),
			Cure: p.cure(CureCheck)}
	}
	return suspended, err
}

// swapTable suspends and resumes the pool, so that the kernel uses the loaded table. The pool
// queues the IO of its volumes in the meantime, so no flush is needed.
func (p *Pool) swapTable(ctx context.Context) error {
	err := p.host.Kernel.Suspend(ctx, p.ref(), dm.SuspendOptions{NoFlush: true, SkipLockFS: true})
	if err != nil {
		return errors.Join(err, p.host.Kernel.Clear(context.WithoutCancel(ctx), p.ref()))
	}
	clean, cancel := contexts.Cleanup(ctx)
	defer cancel()
	_, err = p.host.Kernel.Resume(clean, p.ref(), dm.ResumeOptions{Private: true})
	if err == nil {
		return nil
	}
	// The kernel rejected the new table: resume with the old one.
	cleared := p.host.Kernel.Clear(clean, p.ref())
	_, again := p.host.Kernel.Resume(clean, p.ref(), dm.ResumeOptions{Private: true})
	return errors.Join(err, cleared, again)
}

// hasSizes reports whether the kernel's pool has the sizes of the record. Old kernels limit
// metadata to one bitmap less.
func (p *Pool) hasSizes(status dm.PoolStatus, record store.Pool) bool {
	wantMetadata := uint64(min(record.Metadata.Size, 254*16320*metadataBlock) / metadataBlock)
	return status.TotalData == uint64(record.Data.Size/record.Block) && status.TotalMetadata >= wantMetadata
}

package thinpool

import (
	"context"
	"errors"
	"fmt"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// errUnrecovered reports a database that is not at the pool's transaction id.
var errUnrecovered = errors.New("the previous change is not finished")

// addition is one new thin device: its record, and the message to the kernel.
type addition struct {
	volume  store.Volume
	message string // the kernel message
	// origin is the device id that is suspended for the message: the origin of a
	// snapshot if it is writable, else 0.
	origin uint32
	with   func(*Tx, store.Volume) error
}

// write puts the volume's record, and the caller's documents.
func (a addition) write(tx *store.Tx) error {
	if err := tx.PutVolume(a.volume); err != nil || a.with == nil {
		return err
	}
	return a.with(&Tx{tx}, a.volume)
}

// add creates one new thin device, in a batch with concurrent changes (see batch.go).
// plan runs inside the database transaction.
func (p *Pool) add(
	ctx context.Context, op string, plan func(*store.Tx, store.Pool) (addition, error),
) (store.Volume, error) {
	var made addition
	err := p.changes.run(ctx, &change{plan: func(tx *store.Tx, status dm.PoolStatus) (*addition, error) {
		record, err := tx.Pool()
		if err == nil {
			err = p.admit(op, record, status)
		}
		if err == nil {
			made, err = plan(tx, record)
		}
		if err != nil {
			return nil, err
		}
		made.volume.Tx = status.TransactionID + 1
		return &made, made.write(tx)
	}, adds: op}, p)
	if err != nil {
		return store.Volume{}, err
	}
	p.idCache.put(made.volume.Name, made.volume.ID)
	return made.volume, nil
}

// update writes to the database after recovery from a killed process. The pool's lock is
// held.
func (p *Pool) update(ctx context.Context, status dm.PoolStatus, write func(*store.Tx) error) error {
	recovered := func(tx *store.Tx) error {
		last, err := tx.LastTx()
		if err == nil && last != status.TransactionID {
			err = errUnrecovered
		}
		if err != nil {
			return err
		}
		return write(tx)
	}
	err := p.db.Update(ctx, recovered)
	if errors.Is(err, errUnrecovered) {
		if err = p.recoverChange(ctx, status); err == nil {
			err = p.db.Update(ctx, recovered)
		}
	}
	return err
}

// sendMessages is the kernel's part of a batch: the messages, then the transaction id. It
// returns the ids of the devices that an undo must delete: those whose messages were
// sent, without one that was rejected because its id is taken.
func (p *Pool) sendMessages(ctx context.Context, adds []*addition, pending store.Pending) (made []uint32, err error) {
	for from := 0; from < len(adds); {
		to := from + 1
		for to < len(adds) && adds[to].origin == adds[from].origin {
			to++
		}
		send := func() error {
			for _, add := range adds[from:to] {
				_, err := p.host.Kernel.Message(ctx, p.ref(), add.message)
				if !errors.Is(err, fault.Exists) {
					made = append(made, add.volume.ID)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}
		if origin := adds[from].origin; origin != 0 {
			err = p.whileSuspended(ctx, p.volumeRef(origin), send)
		} else {
			err = send()
		}
		if err != nil {
			return made, err
		}
		from = to
	}
	_, err = p.host.Kernel.Message(ctx, p.ref(), fmt.Sprintf("set_transaction_id %d %d", pending.Tx-1, pending.Tx))
	if err != nil {
		// The change is committed if the kernel has the new id, even if the message failed.
		_, status, again := p.kernelStatus(context.WithoutCancel(ctx))
		if again == nil && status.TransactionID == pending.Tx {
			return made, nil
		}
	}
	return made, err
}

// whileSuspended runs do while the device is suspended, and always resumes it. It does
// not suspend an inactive device.
func (p *Pool) whileSuspended(ctx context.Context, ref dm.Ref, do func() error) (err error) {
	err = p.host.Kernel.Suspend(ctx, ref, dm.SuspendOptions{})
	if errors.Is(err, fault.NotFound) {
		return do()
	}
	if err != nil {
		return err
	}
	defer func() {
		clean, cancel := contexts.Cleanup(ctx)
		defer cancel()
		_, resumed := p.host.Kernel.Resume(clean, ref, dm.ResumeOptions{Private: true, NoUdevSync: true})
		err = errors.Join(err, resumed)
	}()
	return do()
}

// recoverChange undoes the change of a killed process if the kernel has not reached its
// transaction id. The pool's lock is held.
func (p *Pool) recoverChange(ctx context.Context, status dm.PoolStatus) error {
	var last uint64
	var pending store.Pending
	err := p.db.View(ctx, func(tx *store.Tx) (err error) {
		if last, err = tx.LastTx(); err != nil || last == status.TransactionID {
			return err
		}
		pending, err = tx.Pending()
		if errors.Is(err, fault.NotFound) {
			err = nil
		}
		return err
	})
	if err != nil || last == status.TransactionID {
		return err
	}
	if last != status.TransactionID+1 || pending.Tx != last {
		return &Error{Op: "open", Object: p.object(), Kind: ErrDiverged,
			Detail: fmt.Sprintf("the pool is at transaction %d, the database at %d", status.TransactionID, last),
			Err:    errMoment, Cure: p.cure(CureCheck)}
	}
	return p.undo(ctx, pending, pending.IDs())
}

// undo rolls a change back, in the kernel and then in the database. If undo fails, the
// next change or Recover repeats it. made has the ids of the devices that this change may
// have created in the kernel; a device that was there before must not be deleted.
func (p *Pool) undo(ctx context.Context, pending store.Pending, made []uint32) error {
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	for _, origin := range pending.Origins() {
		if err := p.resumeIfSuspended(ctx, p.volumeRef(origin)); err != nil {
			return p.failed("resume the origin of a snapshot in", err)
		}
	}
	for _, id := range made {
		_, err := p.host.Kernel.Message(ctx, p.ref(), fmt.Sprintf("delete %d", id))
		if err != nil && !errors.Is(err, dm.ErrNoThinDevice) {
			return p.failed("undo a change of", err)
		}
	}
	return p.failed("undo a change of", p.db.Update(ctx, func(tx *store.Tx) error { return tx.Undo(pending) }))
}

func (p *Pool) resumeIfSuspended(ctx context.Context, ref dm.Ref) error {
	info, err := p.host.Kernel.Info(ctx, ref)
	if errors.Is(err, fault.NotFound) || err == nil && !info.Suspended {
		return nil
	}
	if err == nil {
		_, err = p.host.Kernel.Resume(ctx, ref, dm.ResumeOptions{Private: true})
	}
	return err
}

// writable returns an error if the kernel would reject changes of the pool.
func (p *Pool) writable(op string, status dm.PoolStatus) error {
	e := &Error{Op: op, Object: p.object(), Kind: fault.Unhealthy}
	switch {
	case status.Mode == dm.ModeFail:
		e.Detail, e.Cure = "it has failed", p.cure(CureCheck)
	case status.NeedsCheck:
		e.Kind, e.Cure = ErrNeedsCheck, p.cure(CureNeedsCheck)
	case status.Mode == dm.ModeReadOnly:
		e.Detail, e.Cure = "it is read-only, out of metadata space or after an error", p.cure(CureReadOnly)
	default:
		return nil
	}
	return e
}

// admit returns an error for a new volume or snapshot if less is free than the reserve of
// the pool or the host. Deletions are always admitted.
func (p *Pool) admit(op string, record store.Pool, status dm.PoolStatus) error {
	refuse := func(what string, free, total uint64, unit units.Bytes, percent int, e Error) error {
		if percent == 0 || total == 0 || free*100 >= total*uint64(percent) {
			return nil
		}
		e.Op, e.Object, e.Kind = op, p.object(), ErrReserve
		e.Detail = fmt.Sprintf("%s of %s %s free, the reserve is %d%%",
			units.Bytes(free)*unit, units.Bytes(total)*unit, what, percent)
		return &e
	}
	reserve := record.Reserve
	if err := refuse("data", status.FreeData(), status.TotalData, record.Block, reserve.Data,
		Error{Cure: p.cure(CureExtendData)}); err != nil {
		return err
	}
	if err := refuse("metadata", status.FreeMetadata(), status.TotalMetadata, metadataBlock, reserve.Metadata,
		Error{Cure: p.cure(CureExtendMetadata)}); err != nil {
		return err
	}
	if reserve.Host == 0 || !record.Data.Loop && !record.Metadata.Loop {
		return nil
	}
	space, err := p.host.Disks.Space(p.dir)
	if err != nil {
		return p.failed(op, err)
	}
	return refuse("on the host's file system", uint64(space.Available), uint64(space.Total), 1, reserve.Host,
		Error{Remedy: fmt.Sprintf("free some space on the file system of %s, or remove volumes", p.dir)})
}

func (p *Pool) takeReaped() []uint32 {
	p.reaped.Lock()
	defer p.reaped.Unlock()
	var done []uint32
	for id := range p.reaped.ids {
		done = append(done, id)
	}
	clear(p.reaped.ids)
	return done
}

// droppingReaped calls write with the ids of the reaped tombstones, which write deletes in
// its transaction.
func (p *Pool) droppingReaped(write func(done []uint32) error) error {
	done := p.takeReaped()
	err := write(done)
	if err != nil {
		p.noteReaped(done...)
	}
	return err
}

func (p *Pool) noteReaped(ids ...uint32) {
	p.reaped.Lock()
	defer p.reaped.Unlock()
	for _, id := range ids {
		p.reaped.ids[id] = true
	}
}

func dropReaped(tx *store.Tx, ids []uint32) error {
	for _, id := range ids {
		if err := tx.DropTombstone(id); err != nil {
			return err
		}
	}
	return nil
}

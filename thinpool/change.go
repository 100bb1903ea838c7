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

// settleTimeout bounds what is done to leave things clean after the caller's
// context has ended.
const settleTimeout = 30 * time.Second

// errUnsettled: the database is not at the pool's transaction id.
var errUnsettled = errors.New("the change before was not finished")

// addition is one new thin device: what the database and the kernel are told.
type addition struct {
	volume  store.Volume
	message string // the kernel message
	origin  uint32 // of a snapshot: the device id that is suspended meanwhile
	with    func(*store.Tx, store.Volume) error
}

// documents writes what the caller keeps along with the volume.
func (a addition) documents(tx *store.Tx) ([]store.Prior, error) {
	if a.with == nil {
		return nil, nil
	}
	return tx.Journal(func() error { return a.with(tx, a.volume) })
}

// add carries out one journaled change (see doc.go): database, message,
// transaction id. plan runs inside the database transaction.
func (p *Pool) add(ctx context.Context, op string, plan func(*store.Tx, store.Pool) (addition, error)) (store.Volume, error) {
	lock, err := p.lock(ctx)
	if err != nil {
		return store.Volume{}, err
	}
	defer lock.Release()
	_, status, err := p.kernelStatus(ctx)
	if err != nil {
		return store.Volume{}, err
	}
	if err := p.writable(op, status); err != nil {
		return store.Volume{}, err
	}
	var add addition
	var pending store.Pending
	done := p.takeReaped()
	err = p.update(ctx, status, func(tx *store.Tx) error {
		record, err := tx.Pool()
		if err != nil {
			return err
		}
		if err := p.admit(op, record, status); err != nil {
			return err
		}
		if err := dropReaped(tx, done); err != nil {
			return err
		}
		if add, err = plan(tx, record); err != nil {
			return err
		}
		pending = store.Pending{Tx: status.TransactionID + 1, Volume: add.volume.Name, ID: add.volume.ID, Origin: add.origin}
		add.volume.Tx = pending.Tx
		if err := tx.PutVolume(add.volume); err != nil {
			return err
		}
		if pending.Documents, err = add.documents(tx); err != nil {
			return err
		}
		return tx.Begin(pending)
	})
	if err != nil {
		p.noteReaped(done...)
		return store.Volume{}, err
	}
	if err := p.perform(ctx, add, pending); err != nil {
		return store.Volume{}, errors.Join(err, p.undo(ctx, pending, err))
	}
	p.guesses.put(add.volume.Name, add.volume.ID)
	return add.volume, nil
}

// update writes to a database that is settled: what a killed process began is
// finished first. The pool's lock is held.
func (p *Pool) update(ctx context.Context, status dm.PoolStatus, write func(*store.Tx) error) error {
	settled := func(tx *store.Tx) error {
		last, err := tx.LastTx()
		if err == nil && last != status.TransactionID {
			err = errUnsettled
		}
		if err != nil {
			return err
		}
		return write(tx)
	}
	err := p.db.Update(ctx, settled)
	if errors.Is(err, errUnsettled) {
		if err = p.settle(ctx, status); err == nil {
			err = p.db.Update(ctx, settled)
		}
	}
	return err
}

// perform is the kernel's half of a change.
func (p *Pool) perform(ctx context.Context, add addition, pending store.Pending) error {
	send := func() error {
		_, err := p.host.Kernel.Message(ctx, p.ref(), add.message)
		return err
	}
	var err error
	if add.origin != 0 {
		err = p.whileSuspended(ctx, p.volumeRef(add.origin), send)
	} else {
		err = send()
	}
	if err != nil {
		return err
	}
	_, err = p.host.Kernel.Message(ctx, p.ref(), fmt.Sprintf("set_transaction_id %d %d", pending.Tx-1, pending.Tx))
	if err != nil {
		// The id is what counts, not the answer.
		if _, status, again := p.kernelStatus(context.WithoutCancel(ctx)); again == nil && status.TransactionID == pending.Tx {
			return nil
		}
	}
	return err
}

// whileSuspended runs do while the device stands still, if it is active, and
// resumes it whatever happens.
func (p *Pool) whileSuspended(ctx context.Context, ref dm.Ref, do func() error) (err error) {
	err = p.host.Kernel.Suspend(ctx, ref, dm.SuspendOptions{})
	if errors.Is(err, dm.ErrNotFound) {
		return do()
	}
	if err != nil {
		return err
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
		defer cancel()
		_, resumed := p.host.Kernel.Resume(clean, ref, dm.ResumeOptions{Private: true})
		err = errors.Join(err, resumed)
	}()
	return do()
}

// settle finishes what a killed process left: a change whose transaction id
// the pool has not reached did not happen. The pool's lock is held.
func (p *Pool) settle(ctx context.Context, status dm.PoolStatus) error {
	var last uint64
	var pending store.Pending
	err := p.db.View(ctx, func(tx *store.Tx) (err error) {
		if last, err = tx.LastTx(); err != nil || last == status.TransactionID {
			return err
		}
		pending, err = tx.Pending()
		if errors.Is(err, store.ErrNotFound) {
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
			Remedy: fmt.Sprintf("one of them was restored or driven by another program: run `thinctl pool check %s`", p.name)}
	}
	return p.undo(ctx, pending, nil)
}

// undo takes a change back, in the kernel and then in the database. Where this
// fails too, the next change or Recover does it. cause is why the change
// failed, nil where its process died.
func (p *Pool) undo(ctx context.Context, pending store.Pending, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if pending.Origin != 0 {
		if err := p.resumeIfSuspended(ctx, p.volumeRef(pending.Origin)); err != nil {
			return p.failed("resume the origin of a snapshot in", err)
		}
	}
	// An id that was there before this change is not this change's to delete.
	if !errors.Is(cause, dm.ErrExists) {
		_, err := p.host.Kernel.Message(ctx, p.ref(), fmt.Sprintf("delete %d", pending.ID))
		if err != nil && !errors.Is(err, dm.ErrNoThinDevice) {
			return p.failed("undo a change of", err)
		}
	}
	return p.failed("undo a change of", p.db.Update(ctx, func(tx *store.Tx) error { return tx.Undo(pending) }))
}

func (p *Pool) resumeIfSuspended(ctx context.Context, ref dm.Ref) error {
	info, err := p.host.Kernel.Info(ctx, ref)
	if errors.Is(err, dm.ErrNotFound) || err == nil && !info.Suspended {
		return nil
	}
	if err == nil {
		_, err = p.host.Kernel.Resume(ctx, ref, dm.ResumeOptions{Private: true})
	}
	return err
}

// writable refuses where the kernel would refuse, with what to do about it.
func (p *Pool) writable(op string, status dm.PoolStatus) error {
	e := &Error{Op: op, Object: p.object(), Kind: ErrUnhealthy}
	switch {
	case status.Mode == dm.ModeFail:
		e.Detail, e.Remedy = "it has failed", fmt.Sprintf("run `thinctl pool check %s`", p.name)
	case status.NeedsCheck:
		e.Kind, e.Remedy = ErrNeedsCheck, fmt.Sprintf("deactivate it and run `thinctl pool repair %s`", p.name)
	case status.Mode == dm.ModeReadOnly:
		e.Detail, e.Remedy = "it is read-only, out of metadata space or after an error", fmt.Sprintf("run `thinctl pool extend %s --metadata SIZE` or `thinctl pool check %s`", p.name, p.name)
	default:
		return nil
	}
	return e
}

// admit refuses new volumes and snapshots before the kernel or the host would
// run out. Deleting is never refused.
func (p *Pool) admit(op string, record store.Pool, status dm.PoolStatus) error {
	refuse := func(what string, free, total uint64, unit units.Bytes, percent int, remedy string) error {
		if percent == 0 || total == 0 || free*100 >= total*uint64(percent) {
			return nil
		}
		return &Error{Op: op, Object: p.object(), Kind: ErrReserve,
			Detail: fmt.Sprintf("%s of %s %s free, the reserve is %d%%", units.Bytes(free)*unit, units.Bytes(total)*unit, what, percent),
			Remedy: remedy + ", or remove volumes"}
	}
	reserve := record.Reserve
	if err := refuse("data", status.FreeData(), status.TotalData, record.Block, reserve.Data,
		fmt.Sprintf("run `thinctl pool extend %s --data SIZE`", p.name)); err != nil {
		return err
	}
	if err := refuse("metadata", status.FreeMetadata(), status.TotalMetadata, metadataBlock, reserve.Metadata,
		fmt.Sprintf("run `thinctl pool extend %s --metadata SIZE`", p.name)); err != nil {
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
		"free some of "+p.dir+"'s file system")
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

func (p *Pool) noteReaped(ids ...uint32) {
	p.reaped.Lock()
	defer p.reaped.Unlock()
	for _, id := range ids {
		p.reaped.ids[id] = true
	}
}

func dropReaped(tx *store.Tx, ids []uint32) error {
	for _, id := range ids {
		if err := tx.Reaped(id); err != nil {
			return err
		}
	}
	return nil
}

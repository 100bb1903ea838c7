package thinpool

import (
	"context"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/thinpool/store"
)

// View runs f over one consistent state of what counts: a change that the kernel
// has not committed is not in it. It takes no lock of the pool's.
func (p *Pool) View(ctx context.Context, f func(*Tx) error) error {
	return p.db.View(ctx, func(tx *store.Tx) error {
		last, err := tx.LastTx()
		if err != nil {
			return err
		}
		if last > 0 {
			reached, err := p.reached(ctx, tx.Pool)
			if err != nil {
				return err
			}
			if err := tx.Settled(reached); err != nil {
				return err
			}
		}
		return f(&Tx{tx})
	})
}

// Update runs f and makes the documents that it wrote durable, all or nothing.
// What a killed process began is finished first, so the pool must be active.
// Those who do this at the same moment may share one transaction, so f may be run
// more than once; the last run counts.
func (p *Pool) Update(ctx context.Context, f func(*Tx) error) error { return p.change(ctx, wrap(f)) }

func (p *Pool) change(ctx context.Context, f func(*store.Tx) error) error {
	return p.changes.join(ctx, &change{plan: func(tx *store.Tx, _ dm.PoolStatus) (*addition, error) { return nil, f(tx) }}, p)
}

// RenameVolume gives a volume another name, which may be the one that it has, and
// what it is kept for, in one transaction. Nobody may use it; all that was written
// to it is durable first, and its device is gone afterwards.
func (p *Pool) RenameVolume(ctx context.Context, from, to string, keep RenameOptions) (Volume, error) {
	if err := p.checkNewName("rename", to); err != nil {
		return Volume{}, err
	}
	record, unlock, err := p.holdVolume(ctx, "rename", from)
	if err != nil {
		return Volume{}, err
	}
	defer unlock()
	if err := p.keptFor("rename", record, keep.Was); err != nil {
		return Volume{}, err
	}
	if err := p.flushThin(ctx, record); err != nil {
		return Volume{}, p.volumeFailed("rename", from, err)
	}
	if err := p.deactivateThin(ctx, record); err != nil {
		return Volume{}, p.volumeFailed("rename", from, err)
	}
	renamed := record
	renamed.Name, renamed.For, renamed.ReadOnly = to, keep.For, keep.ReadOnly
	err = p.change(ctx, func(tx *store.Tx) error {
		if to != from {
			if err := p.nameFree(tx, "rename", to); err != nil {
				return err
			}
		}
		if err := tx.DeleteVolume(record); err != nil {
			return err
		}
		if err := tx.PutVolume(renamed); err != nil {
			return err
		}
		if keep.With != nil {
			return keep.With(&Tx{tx}, renamed)
		}
		return nil
	})
	if err != nil {
		return Volume{}, p.volumeFailed("rename", from, err)
	}
	p.guesses.drop(from)
	return plainVolume(renamed), nil
}

// RenameOptions say what a volume is kept for under its new name.
type RenameOptions struct {
	// Was must be what it was kept for so far.
	Was string
	Keep
}

// flushThin makes durable what was written to a volume, active or not: the
// kernel may still have the mapping of new blocks in memory only.
func (p *Pool) flushThin(ctx context.Context, record store.Volume) error {
	volume, ok := p.Standing(ctx, record)
	if !ok {
		info, err := p.activateThin(ctx, record, volumeDeviceName(p.name, record.Name))
		if err != nil {
			return err
		}
		volume = activeVolume(record, info)
	}
	return p.host.Disks.Flush(ctx, volume.Node)
}

// keptFor returns an error if a volume is kept for another purpose.
func (p *Pool) keptFor(op string, record store.Volume, purpose string) error {
	if record.For == purpose {
		return nil
	}
	return &Error{Op: op, Object: p.volumeObject(record.Name), Kind: fault.Invalid,
		Err: &KeptError{Op: op, Pool: p.name, Volume: record.Name, For: record.For}}
}

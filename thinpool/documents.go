package thinpool

import (
	"context"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/thinpool/store"
)

// View runs f over one consistent state of the database, without a change that the
// kernel has not committed. It takes no lock of the pool.
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
			if err := tx.AsOf(reached); err != nil {
				return err
			}
		}
		return f(&Tx{tx})
	})
}

// Update runs f and makes the documents that it wrote durable, all or nothing. It first
// recovers from a killed process, so the pool must be active. Concurrent calls share a
// transaction: f may run more than once, and only its last run takes effect.
func (p *Pool) Update(ctx context.Context, f func(*Tx) error) error { return p.change(ctx, wrap(f)) }

func (p *Pool) change(ctx context.Context, f func(*store.Tx) error) error {
	plan := func(tx *store.Tx, _ dm.PoolStatus) (*addition, error) { return nil, f(tx) }
	return p.changes.run(ctx, &change{plan: plan}, p)
}

// RenameVolume changes the name and the purpose of a volume in one transaction. The name
// may stay the same. The volume must not be open. RenameVolume first makes all writes to
// it durable, and removes its device.
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
	p.idCache.drop(from)
	return plainVolume(renamed), nil
}

// RenameOptions has the purpose of a volume before and after it is renamed.
type RenameOptions struct {
	// Was must be the present purpose.
	Was string
	Keep
}

// flushThin makes the writes to a volume durable. It activates an inactive volume: the
// kernel may have the mappings of new blocks only in memory.
func (p *Pool) flushThin(ctx context.Context, record store.Volume) error {
	volume, ok := p.LookupActive(ctx, record)
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

package thinpool

import (
	"context"
	"errors"
	"fmt"

	"thinctl/thinpool/store"
)

// ownDisks returns an error if a block device of an inactive pool is not the recorded
// one. A device without an identity is identified by its contents, which each repair
// checks by itself.
func (p *Pool) ownDisks(ctx context.Context, op string) error {
	_, _, err := p.kernelStatus(ctx)
	if !errors.Is(err, ErrInactive) {
		return err // the kernel holds the devices of an active pool
	}
	record, err := p.Record(ctx)
	if err != nil {
		return err
	}
	for _, w := range []wanted{p.metadataWanted(op, record), p.dataWanted(op, record)} {
		if w.backing.Loop || !w.backing.Identity.Known() {
			continue
		}
		held, err := p.findDisk(w)
		if err != nil {
			return err
		}
		if err := held.Close(); err != nil {
			return err
		}
	}
	return nil
}

// adoptGeneration raises the generation of a database that was restored from an older
// copy to that of the data. This is safe: the data is newer, and nothing of it is lost.
// An older copy of the data lacks later writes, so only a user may accept it.
func (p *Pool) adoptGeneration(ctx context.Context, options RepairOptions, repair *Repair) error {
	if _, _, err := p.kernelStatus(ctx); !errors.Is(err, ErrInactive) {
		return err
	}
	record, err := p.Record(ctx)
	if err != nil {
		return err
	}
	held, err := p.host.Disks.Open(p.backingPath(record.Data))
	if err != nil {
		return nil // a finding reports that it is missing
	}
	defer held.Close()
	m, found, err := readMark(held, record.Data.Size)
	if err != nil || !found || m.Pool != p.id || m.Generation <= record.Generation+1 {
		return err
	}
	repair.Actions = append(repair.Actions, fmt.Sprintf("use the data of generation %d, for which the database has %d",
		m.Generation, record.Generation))
	if options.DryRun {
		return nil
	}
	return p.db.Update(ctx, func(tx *store.Tx) error {
		record, err := tx.Pool()
		if err != nil {
			return err
		}
		record.Generation = m.Generation
		return tx.PutPool(record)
	})
}

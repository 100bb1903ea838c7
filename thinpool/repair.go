package thinpool

import (
	"context"
	"errors"
	"fmt"

	"thinctl/dm"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// RepairOptions change what a repair does.
type RepairOptions struct {
	DryRun bool
}

// Repair is what a repair did, or would do.
type Repair struct {
	Actions []string `json:"actions"`
	// Damaged is where the metadata was kept as it was found, "" where it was
	// not rebuilt.
	Damaged string `json:"damaged,omitempty"`
	// Lost is what could not be saved of the metadata. Whoever ends a rebuild that
	// was killed does not know it; a check of Damaged tells.
	Lost []LostVolume `json:"lost"`
	// Left are findings that no repair mends.
	Left []Finding `json:"left"`
}

// Repair mends what Check finds and can be mended without loss. Metadata that
// needs a check or is damaged is only touched while the pool is inactive; a
// copy of it is kept before anything is rebuilt.
func (p *Pool) Repair(ctx context.Context, options RepairOptions) (Repair, error) {
	turn, err := p.lockReading(ctx)
	if err != nil {
		return Repair{}, err
	}
	defer turn.Release()
	lock, err := p.lock(ctx)
	if err != nil {
		return Repair{}, err
	}
	repair, err := p.repair(ctx, options)
	lock.Release()
	if err == nil && !options.DryRun {
		if _, status, inactive := p.kernelStatus(ctx); inactive == nil && status.Mode == dm.ModeWrite {
			_, _, err = p.Reap(ctx)
		}
	}
	return repair, p.failed("repair", err)
}

func (p *Pool) repair(ctx context.Context, options RepairOptions) (Repair, error) {
	repair := Repair{Actions: []string{}, Lost: []LostVolume{}, Left: []Finding{}}
	if err := p.ownDisks(ctx, "repair"); err != nil {
		return repair, err
	}
	cutOff, err := p.finishSwap(ctx, options, &repair)
	if err != nil || cutOff && options.DryRun { // what else there is shows when it is in place
		return repair, err
	}
	report, err := p.findMendable(ctx)
	if err != nil {
		return repair, err
	}
	rebuilt := false
	for _, finding := range report.Findings {
		if !finding.Repairable {
			repair.Left = append(repair.Left, finding)
			continue
		}
		if offline := finding.Code == FindMetadata || finding.Code == FindLeak || finding.Code == FindNeedsCheck; offline {
			if report.Active {
				finding.Remedy = fmt.Sprintf("deactivate the pool first: `thinctl pool deactivate %s`", p.name)
				repair.Left = append(repair.Left, finding)
				continue
			}
			if rebuilt {
				continue
			}
			rebuilt = true
		}
		if finding.Code == FindOrphan && !report.Active {
			// Only the kernel knows how far its blocks reach, and so its size.
			finding.Remedy = fmt.Sprintf("activate the pool first: `thinctl pool activate %s`", p.name)
			repair.Left = append(repair.Left, finding)
			continue
		}
		if err := p.mend(ctx, finding, options.DryRun, &repair); err != nil {
			return repair, err
		}
	}
	return repair, p.adoptGeneration(ctx, report.Active, options, &repair)
}

// findMendable is Check for who has both locks. Of an active pool's metadata,
// which is only mended offline, it reads no more than the thin devices.
func (p *Pool) findMendable(ctx context.Context) (Report, error) {
	report, err := p.surveyLocked(ctx)
	if err != nil {
		return report, err
	}
	return report, p.checkMetadata(ctx, &report, func(ctx context.Context, report *Report) error {
		return p.readLocked(ctx, func(r *Reading) error {
			find := r.check
			if r.Active {
				find = func(context.Context) ([]Finding, error) { return r.checkDevices() }
			}
			found, err := find(ctx)
			report.Findings = append(report.Findings, found...)
			return err
		})
	})
}

// mend carries out one repair, or only says what it would be.
func (p *Pool) mend(ctx context.Context, f Finding, dry bool, repair *Repair) error {
	act := func(what string, do func() error) error {
		repair.Actions = append(repair.Actions, what)
		if dry {
			return nil
		}
		return do()
	}
	switch f.Code {
	case FindUnfinished, FindSuspended:
		return p.mendUnfinished(ctx, f, act)
	case FindDevice:
		return act("remove the "+f.Object, func() error {
			_, err := p.host.Kernel.Remove(ctx, p.volumeRef(f.id), dm.RemoveOptions{})
			return err
		})
	case FindTombstone:
		return act("give back the blocks of "+f.Object, func() error { return nil }) // Repair reaps at its end
	case FindOrphan:
		return act(fmt.Sprintf("make device id %d the volume %s", f.id, adoptedName(f.id)), func() error { return p.adopt(ctx, f.id) })
	case FindMetadata, FindLeak, FindNeedsCheck:
		return p.mendMetadata(ctx, act, repair)
	}
	return nil
}

func (p *Pool) mendUnfinished(ctx context.Context, f Finding, act func(string, func() error) error) error {
	ref := p.volumeRef(f.id)
	if f.id == 0 {
		ref = p.ref()
	}
	if f.Code == FindSuspended {
		return act("resume the "+f.Object, func() error { return p.resumeIfSuspended(ctx, ref) })
	}
	if f.id != 0 {
		return act("remove the half-made "+f.Object, func() error {
			_, err := p.host.Kernel.Remove(ctx, ref, dm.RemoveOptions{})
			return err
		})
	}
	return act("finish or undo what was cut off in "+f.Object, func() error {
		_, status, err := p.kernelStatus(ctx)
		if err != nil {
			return err
		}
		return p.recover(ctx, status)
	})
}

// adopt makes a volume of a thin device that the database does not know.
func (p *Pool) adopt(ctx context.Context, id uint32) error {
	reached, err := p.transactionID(ctx)
	if err != nil {
		return err
	}
	var volume store.Volume
	err = p.db.Update(ctx, func(tx *store.Tx) error {
		pool, err := tx.Pool()
		if err != nil {
			return err
		}
		if err := p.nameFree(tx, "adopt", adoptedName(id)); err != nil {
			return err
		}
		volume = store.Volume{Name: adoptedName(id), ID: id, Size: pool.BaseSize, Created: p.host.now(), Tx: reached}
		return tx.PutVolume(volume)
	})
	if err != nil {
		return err
	}
	end, err := p.mappedEnd(ctx, volume)
	if err != nil || end <= volume.Size {
		return err
	}
	// The pool keeps no virtual size: at least everything mapped must be in reach.
	volume.Size = end
	return p.db.Update(ctx, func(tx *store.Tx) error { return tx.PutVolume(volume) })
}

// mappedEnd returns the end of a volume's highest mapped block; 0 while the
// pool is inactive.
func (p *Pool) mappedEnd(ctx context.Context, volume store.Volume) (units.Bytes, error) {
	if _, _, err := p.kernelStatus(ctx); errors.Is(err, ErrInactive) {
		return 0, nil
	}
	if _, err := p.tryActivateThin(ctx, volume, volumeDeviceName(p.name, volume.Name)); err != nil {
		return 0, err
	}
	_, lines, err := p.host.Kernel.Status(ctx, p.volumeRef(volume.ID), dm.StatusOptions{NoFlush: true})
	err = errors.Join(err, p.deactivateThin(ctx, volume))
	if err != nil || len(lines) == 0 {
		return 0, err
	}
	thin, err := dm.ParseThinStatus(lines[0])
	if err != nil || thin.Mapped == 0 {
		return 0, err
	}
	return (thin.Highest + 1).Bytes(), nil
}

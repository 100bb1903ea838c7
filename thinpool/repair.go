package thinpool

import (
	"context"
	"errors"
	"slices"

	"thinctl/dm"
	"thinctl/thinpool/store"
)

// RepairOptions are the options of a repair.
type RepairOptions struct {
	DryRun bool
	// DataDevice and MetadataDevice are the block devices of the pool. They are needed
	// only for a pool on block devices whose database is lost and has no copy.
	DataDevice, MetadataDevice string
	// Records repairs the documents of packages above the pool in a transaction, after
	// the repair of the volumes. It returns its actions. It may be nil.
	Records func(*Tx) ([]string, error)
}

// Repair is the result of a repair, or of its dry run.
type Repair struct {
	Actions []string `json:"actions"`
	// Warnings tell the user what to check before volumes are used again.
	Warnings []string `json:"warnings,omitempty"`
	// Database is the path of a copy of the database before the repair, "" if the repair
	// deleted nothing from it.
	Database string `json:"database,omitempty"`
	// Damaged is the path of the damaged metadata that was kept, "" if the metadata was
	// not rebuilt.
	Damaged string `json:"damaged,omitempty"`
	// Lost lists the volumes that have lost blocks. It is incomplete if the repair
	// finished a killed one; then check Damaged.
	Lost []LostVolume `json:"lost"`
	// Kept is the number of volumes after the repair.
	Kept int `json:"kept_volumes"`
	// Left lists the findings that remain.
	Left []Finding `json:"left"`
}

// Repair repairs the repairable findings of Check. It changes metadata that needs a
// check or is damaged only while the pool is inactive. It keeps the damaged metadata
// before it replaces it.
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
	if err != nil || cutOff && options.DryRun { // other findings need the metadata in place
		return repair, err
	}
	// A check of the rebuilt metadata can find more than one of the damaged metadata.
	const passes = 3
	for range passes {
		repair.Left = []Finding{}
		again, err := p.repairOnce(ctx, options.DryRun, &repair)
		if err != nil {
			return repair, err
		}
		if !again || options.DryRun {
			break
		}
	}
	if err := p.adoptGeneration(ctx, options, &repair); err != nil {
		return repair, err
	}
	if err := p.repairRecords(ctx, options, &repair); err != nil {
		return repair, err
	}
	known, err := p.records(ctx)
	repair.Kept = len(known.volumes)
	return repair, err
}

// repairRecords repairs documents if no change is unfinished. The next activation
// undoes an unfinished change with its documents.
func (p *Pool) repairRecords(ctx context.Context, options RepairOptions, repair *Repair) error {
	if options.Records == nil {
		return nil
	}
	reached, err := p.transactionID(ctx)
	if err != nil {
		return nil // Repair.Left has the reason why the metadata cannot be read
	}
	var done []string
	err = p.db.Update(ctx, func(tx *store.Tx) error {
		last, err := tx.LastTx()
		if err != nil || last != reached {
			return errors.Join(err, errDry)
		}
		if done, err = options.Records(&Tx{tx}); err == nil && (options.DryRun || len(done) == 0) {
			err = errDry
		}
		return err
	})
	if err != nil && !errors.Is(err, errDry) {
		return err
	}
	repair.Actions = append(repair.Actions, done...)
	return nil
}

// repairOnce repairs the findings of one check. again reports that it repaired the
// metadata, so that another check may find more.
func (p *Pool) repairOnce(ctx context.Context, dry bool, repair *Repair) (again bool, err error) {
	report, err := p.findRepairable(ctx)
	if err != nil {
		return false, err
	}
	reconcile := false
	for _, finding := range report.Findings {
		if !finding.Repairable {
			repair.Left = append(repair.Left, finding)
			continue
		}
		switch finding.Code {
		case FindIdentity, FindOrphan, FindMissing:
			reconcile = true
			continue
		case FindMetadata, FindLeak, FindNeedsCheck:
			if report.Active {
				finding.Remedy, finding.Cure = "", p.cure(CureRepairInactive)
				repair.Left = append(repair.Left, finding)
				continue
			}
			if again {
				continue
			}
			again = true
		case FindDevice: // a device that becomes a volume stays
			if slices.ContainsFunc(
				report.Findings,
				func(f Finding) bool { return f.Code == FindOrphan && f.id == finding.id },
			) {
				continue
			}
		}
		if err := p.repairFinding(ctx, finding, dry, repair); err != nil {
			return false, err
		}
	}
	if !reconcile || again {
		return again, nil
	}
	return false, p.reconcile(ctx, dry, repair)
}

// findRepairable is Check for a caller that holds both locks. It reads only the thin
// devices of an active pool's metadata: the rest is repaired only while it is inactive.
func (p *Pool) findRepairable(ctx context.Context) (Report, error) {
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

// repairFinding repairs one finding and lists the action. If dry is true, it only lists
// the action.
func (p *Pool) repairFinding(ctx context.Context, f Finding, dry bool, repair *Repair) error {
	act := func(what string, do func() error) error {
		if slices.Contains(repair.Actions, what) { // done by the previous pass
			return nil
		}
		repair.Actions = append(repair.Actions, what)
		if dry {
			return nil
		}
		return do()
	}
	switch f.Code {
	case FindUnfinished, FindSuspended:
		return p.repairUnfinished(ctx, f, act)
	case FindDevice:
		return act("remove the "+f.Object, func() error {
			_, err := p.host.Kernel.Remove(ctx, p.volumeRef(f.id), dm.RemoveOptions{})
			return err
		})
	case FindTombstone:
		return act("give back the blocks of "+f.Object, func() error { return nil }) // Repair reaps at its end
	case FindMetadata, FindLeak, FindNeedsCheck:
		return p.repairMetadata(ctx, act, repair)
	}
	return nil
}

func (p *Pool) repairUnfinished(ctx context.Context, f Finding, act func(string, func() error) error) error {
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

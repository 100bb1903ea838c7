package thinpool

import (
	"context"
	"errors"
	"fmt"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
)

// Finding is a difference between database, kernel and metadata, or damage.
type Finding struct {
	Code   string `json:"code"` // stable; see the Find constants
	Object string `json:"object"`
	Detail string `json:"detail"`
	// Remedy and Cure are what to do next, without and with a command. Err is the error
	// that Detail is the text of, or nil.
	Remedy string     `json:"remedy"`
	Cure   fault.Cure `json:"-"`
	Err    error      `json:"-"`
	// Repairable reports that Repair removes the finding. Lost is the largest number of
	// mappings that this loses.
	Repairable bool   `json:"repairable"`
	Lost       uint64 `json:"lost,omitempty"`
	// Fault is the code of the metadata package. Only FindMetadata and FindLeak have one.
	Fault metadata.Code `json:"fault,omitempty"`
	// Device is the kernel's device of a removed volume, if it still exists. Only
	// FindTombstone has one.
	Device blockdev.Number `json:"-"`

	id uint32
}

// The codes of findings.
const (
	FindIdentity   = "identity"       // the metadata is blank, of another pool or of another moment
	FindMetadata   = "metadata"       // the metadata is damaged, or will be; Fault has the kind of damage
	FindLeak       = "leak"           // allocated blocks have no reference; no data is at risk
	FindNeedsCheck = "needs-check"    // the kernel has set the flag needs_check
	FindMode       = "mode"           // the pool accepts no writes
	FindUnfinished = "unfinished"     // a change, extension or activation was killed
	FindSuspended  = "suspended"      // a device was left suspended
	FindDevice     = "unknown-device" // the kernel has a device without a record
	FindOrphan     = "orphan"         // the metadata has a thin device without a record
	FindMissing    = "missing"        // the metadata has no thin device for a volume
	FindTombstone  = "tombstone"      // the blocks of a removed volume are not free yet
	FindHeldRoot   = "held-root"      // a metadata snapshot is held
	FindUnchecked  = "unchecked"      // a part of the check could not run
)

// Report is the result of a check. A sound pool has no findings.
type Report struct {
	Pool     string    `json:"pool"`
	Active   bool      `json:"active"`
	Findings []Finding `json:"findings"`
	// Disks has the pool's data and metadata disks. It is empty if one of them was
	// refused.
	Disks []FoundDisk `json:"disks,omitempty"`

	refused bool // the kernel would reject a metadata snapshot
}

// Check compares database, kernel and metadata, and checks that the metadata is
// consistent. It reads the metadata of an active pool through a metadata snapshot, which
// has no space maps (see [Pool.ReadMetadata]). For an active pool, Check commits the
// metadata and holds the snapshot while it reads. It changes nothing else.
func (p *Pool) Check(ctx context.Context) (Report, error) {
	report, err := p.survey(ctx)
	if err != nil {
		return report, err
	}
	return report, p.checkMetadata(ctx, &report, func(ctx context.Context, report *Report) error {
		var found []Finding
		err := p.readMetadata(ctx, func(r *Reading) (err error) {
			found, err = r.check(ctx)
			return err
		})
		report.Findings = append(report.Findings, found...)
		return err
	})
}

// survey takes the pool's lock and runs surveyLocked.
func (p *Pool) survey(ctx context.Context) (Report, error) {
	lock, err := p.lock(ctx)
	if err != nil {
		return Report{}, err
	}
	defer lock.Release()
	return p.surveyLocked(ctx)
}

// surveyLocked runs the part of a check that reads no trees of the metadata.
func (p *Pool) surveyLocked(ctx context.Context) (Report, error) {
	report := Report{Pool: p.name, Findings: []Finding{}}
	known, err := p.records(ctx)
	if err != nil {
		return report, p.failed("check", err)
	}
	_, status, err := p.kernelStatus(ctx)
	switch {
	case err == nil:
		report.Active = true
		p.checkStatus(&report, known, status)
		p.checkActiveDisks(ctx, &report, known.record)
	case errors.Is(err, ErrInactive):
		p.checkOffline(ctx, &report, known)
	default:
		return report, p.failed("check", err)
	}
	own, err := p.ownDevices(ctx)
	if err != nil {
		return report, p.failed("check", err)
	}
	devices := map[uint32]blockdev.Number{}
	for _, entry := range own {
		if err := p.checkDevice(ctx, &report, known, entry); err != nil {
			return report, p.failed("check", err)
		}
		if !entry.isPool {
			devices[entry.id] = entry.Dev
		}
	}
	for _, tombstone := range known.tombstones {
		report.add(Finding{
			Code: FindTombstone, Object: p.volumeObject(tombstone.Name), id: tombstone.ID, Repairable: true,
			Device: devices[tombstone.ID],
			Detail: fmt.Sprintf("removed at %s, its blocks (device id %d) are still taken",
				tombstone.Removed.Format("2006-01-02 15:04:05"), tombstone.ID),
			Remedy: "they become free when the device is closed",
		})
	}
	return report, nil
}

func (r *Report) add(f Finding) { r.Findings = append(r.Findings, f) }

// known holds the records of the database, for comparison with the kernel and the metadata.
type known struct {
	record     store.Pool
	last       uint64
	pending    store.Pending
	volumes    map[uint32]store.Volume
	tombstones map[uint32]store.Tombstone
}

func (p *Pool) records(ctx context.Context) (known, error) {
	k := known{volumes: map[uint32]store.Volume{}, tombstones: map[uint32]store.Tombstone{}}
	err := p.db.View(ctx, func(tx *store.Tx) (err error) {
		if k.record, err = tx.Pool(); err != nil {
			return err
		}
		if k.last, err = tx.LastTx(); err != nil {
			return err
		}
		if k.pending, err = tx.Pending(); err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
		for volume, err := range tx.Volumes() {
			if err != nil {
				return err
			}
			k.volumes[volume.ID] = volume
		}
		for tombstone, err := range tx.Tombstones() {
			if err != nil {
				return err
			}
			k.tombstones[tombstone.ID] = tombstone
		}
		return nil
	})
	return k, err
}

func (p *Pool) checkOffline(ctx context.Context, report *Report, known known) {
	c, err := p.claim(ctx, known.record, nil)
	if err == nil {
		report.Disks = disksOf(c)
		err = c.close()
	}
	if err != nil {
		report.add(p.identityFinding(err))
	}
}

// identityFinding converts an error about the pool's disks to a finding.
func (p *Pool) identityFinding(err error) Finding {
	finding := Finding{Code: FindIdentity, Object: p.object(), Detail: err.Error(), Remedy: p.putBack()}
	var refused *Error
	if errors.As(err, &refused) {
		plain := *refused
		plain.Op, plain.Remedy = "", ""
		finding.Detail = plain.Error()
		if refused.Remedy != "" || refused.Cure != nil {
			finding.Remedy, finding.Cure = refused.Remedy, refused.Cure
		}
	}
	switch {
	case errors.Is(err, ErrNeedsCheck):
		finding.Code, finding.Repairable = FindNeedsCheck, true
	case errors.Is(err, errMoment), errors.Is(err, errOldDatabase):
		finding.Remedy, finding.Cure, finding.Repairable = remedyAgree, p.cure(CureAgree), true
	}
	return finding
}

func (p *Pool) checkStatus(report *Report, known known, status dm.PoolStatus) {
	if err := p.writable("check", status); err != nil {
		code := FindMode
		if status.NeedsCheck {
			code = FindNeedsCheck
		}
		report.add(Finding{
			Code: code, Object: p.object(), Repairable: status.NeedsCheck,
			Detail: err.Error(), Err: err, Cure: p.cure(CureRepairInactive),
		})
		report.refused = true
		return
	}
	data, meta := times(status.TotalData, known.record.Block), times(status.TotalMetadata, metadataBlock)
	reached := moment{status.TransactionID, data, meta}
	if differs := known.differs(reached); differs != "" {
		report.add(Finding{Code: FindIdentity, Object: p.object(), Repairable: true,
			Detail: fmt.Sprintf("%s: %s: %s", ErrDiverged, differs, errMoment), Remedy: remedyAgree, Cure: p.cure(CureAgree)})
		return
	}
	if known.last != status.TransactionID {
		for _, unfinished := range known.pending.Volumes() {
			report.add(Finding{
				Code:       FindUnfinished,
				Object:     p.volumeObject(unfinished.Volume),
				Repairable: true,
				Detail:     "its creation was cut off",
				Cure:       p.cure(CureUndo),
			})
		}
	}
	if !p.hasSizes(status, known.record) {
		report.add(Finding{Code: FindUnfinished, Object: p.object(), Repairable: true,
			Detail: "an extension was cut off", Cure: p.cure(CureFinish)})
	}
}

func (p *Pool) checkDevice(ctx context.Context, report *Report, known known, entry ownEntry) error {
	info, err := p.host.Kernel.Info(ctx, dm.ByUUID(entry.UUID))
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, volume := known.volumes[entry.id]
	_, tombstone := known.tombstones[entry.id]
	switch {
	case info.Suspended:
		report.add(Finding{Code: FindSuspended, Object: "device " + string(entry.Name), id: entry.id, Repairable: true,
			Detail: "all its IO waits", Cure: p.cure(CureResume)})
	case !entry.isPool && !volume && !tombstone:
		report.add(Finding{
			Code: FindDevice, Object: "device " + string(entry.Name), id: entry.id, Repairable: info.OpenCount == 0,
			Detail: "it has this pool's uuid, and no volume has its id",
			Cure:   p.cure(CureRemoveClosed),
		})
	case !info.ActiveTable:
		report.add(Finding{Code: FindUnfinished, Object: "device " + string(entry.Name), id: entry.id, Repairable: true,
			Detail: "its activation was cut off", Cure: p.cure(CureRemove)})
	}
	return nil
}

// adoptedName returns the name of the volume that a repair makes for an orphaned device.
func adoptedName(id uint32) string { return fmt.Sprintf("recovered-%d", id) }

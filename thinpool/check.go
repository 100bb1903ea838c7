package thinpool

import (
	"cmp"
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
	Remedy string `json:"remedy"`
	// Repairable reports that Repair removes the finding. Lost is the largest number of
	// mappings that this loses.
	Repairable bool   `json:"repairable"`
	Lost       uint64 `json:"lost,omitempty"`
	// Fault is the metadata package's own code, of FindMetadata and FindLeak.
	Fault metadata.Code `json:"fault,omitempty"`
	// Device is that of a removed volume which the kernel still has, and whose
	// holders can be asked for; of FindTombstone.
	Device blockdev.Number `json:"-"`

	id uint32
}

// The codes of findings.
const (
	FindIdentity   = "identity"       // the metadata is another pool's, blank or of another moment
	FindMetadata   = "metadata"       // the metadata is damaged, or will be; Fault says how
	FindLeak       = "leak"           // blocks that nothing refers to are taken; no data is at risk
	FindNeedsCheck = "needs-check"    // the kernel wants the metadata checked
	FindMode       = "mode"           // the pool does not take writes
	FindUnfinished = "unfinished"     // a killed change, extension or activation
	FindSuspended  = "suspended"      // a device was left suspended
	FindDevice     = "unknown-device" // the kernel has a device that the database has not
	FindOrphan     = "orphan"         // the metadata has a thin device that the database has not
	FindMissing    = "missing"        // the database has a volume that the metadata has not
	FindTombstone  = "tombstone"      // a removed volume's blocks are not given back
	FindHeldRoot   = "held-root"      // a metadata snapshot is held
	FindUnchecked  = "unchecked"      // a part of the check could not run
)

// Report is the result of a check. A sound pool has no findings.
type Report struct {
	Pool     string    `json:"pool"`
	Active   bool      `json:"active"`
	Findings []Finding `json:"findings"`
	// Disks are the pool's data and metadata as they were found; none where one of
	// them was refused.
	Disks []FoundDisk `json:"disks,omitempty"`

	refused bool // the kernel gives no metadata snapshot
}

// Check compares database, kernel and metadata, and all of the metadata with
// itself. An active pool's is read as [Pool.ReadMetadata] does, through a
// metadata snapshot, which has no space maps. Nothing is changed but that an
// active pool's metadata is committed and held meanwhile.
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

func (p *Pool) survey(ctx context.Context) (Report, error) {
	lock, err := p.lock(ctx)
	if err != nil {
		return Report{}, err
	}
	defer lock.Release()
	return p.surveyLocked(ctx)
}

// surveyLocked is the part of a check that reads no trees.
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
	there := map[uint32]blockdev.Number{}
	for _, entry := range own {
		if err := p.checkDevice(ctx, &report, known, entry); err != nil {
			return report, p.failed("check", err)
		}
		if !entry.isPool {
			there[entry.id] = entry.Dev
		}
	}
	for _, tombstone := range known.tombstones {
		report.add(Finding{Code: FindTombstone, Object: p.volumeObject(tombstone.Name), id: tombstone.ID, Repairable: true,
			Device: there[tombstone.ID],
			Detail: fmt.Sprintf("removed at %s, its blocks (device id %d) are still taken", tombstone.Removed.Format("2006-01-02 15:04:05"), tombstone.ID),
			Remedy: "they become free when the device is closed"})
	}
	return report, nil
}

func (r *Report) add(f Finding) { r.Findings = append(r.Findings, f) }

// known is what the database says there should be.
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

// identityFinding is a refusal of the pool's disks as a finding.
func (p *Pool) identityFinding(err error) Finding {
	finding := Finding{Code: FindIdentity, Object: p.object(), Detail: err.Error(), Remedy: p.putBack()}
	var refused *Error
	if errors.As(err, &refused) {
		plain := *refused
		plain.Op, plain.Remedy = "", ""
		finding.Detail, finding.Remedy = plain.Error(), cmp.Or(refused.Remedy, finding.Remedy)
	}
	switch {
	case errors.Is(err, ErrNeedsCheck):
		finding.Code, finding.Repairable = FindNeedsCheck, true
	case errors.Is(err, errMoment), errors.Is(err, errOldDatabase):
		finding.Remedy, finding.Repairable = p.agreeIt(), true
	}
	return finding
}

func (p *Pool) checkStatus(report *Report, known known, status dm.PoolStatus) {
	if err := p.writable("check", status); err != nil {
		code := FindMode
		if status.NeedsCheck {
			code = FindNeedsCheck
		}
		report.add(Finding{Code: code, Object: p.object(), Detail: err.Error(), Remedy: p.repairOffline(), Repairable: status.NeedsCheck})
		report.refused = true
		return
	}
	reached := moment{status.TransactionID, times(status.TotalData, known.record.Block), times(status.TotalMetadata, metadataBlock)}
	if differs := known.differs(reached); differs != "" {
		report.add(Finding{Code: FindIdentity, Object: p.object(), Repairable: true,
			Detail: fmt.Sprintf("%s: %s: %s", ErrDiverged, differs, errMoment), Remedy: p.agreeIt()})
		return
	}
	if known.last != status.TransactionID {
		for _, begun := range known.pending.Volumes() {
			report.add(Finding{Code: FindUnfinished, Object: p.volumeObject(begun.Volume), Repairable: true,
				Detail: "its creation was cut off", Remedy: fmt.Sprintf("the next change or `thinctl pool repair %s` undoes it", p.name)})
		}
	}
	if !p.hasSizes(status, known.record) {
		report.add(Finding{Code: FindUnfinished, Object: p.object(), Repairable: true,
			Detail: "an extension was cut off", Remedy: fmt.Sprintf("`thinctl pool repair %s` finishes it", p.name)})
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
			Detail: "all its IO waits", Remedy: fmt.Sprintf("`thinctl pool repair %s` resumes it", p.name)})
	case !entry.isPool && !volume && !tombstone:
		report.add(Finding{Code: FindDevice, Object: "device " + string(entry.Name), id: entry.id, Repairable: info.OpenCount == 0,
			Detail: "it carries this pool's uuid, and no volume has its id", Remedy: fmt.Sprintf("`thinctl pool repair %s` removes it when it is closed", p.name)})
	case !info.ActiveTable:
		report.add(Finding{Code: FindUnfinished, Object: "device " + string(entry.Name), id: entry.id, Repairable: true,
			Detail: "its activation was cut off", Remedy: fmt.Sprintf("`thinctl pool repair %s` removes it", p.name)})
	}
	return nil
}

func adoptedName(id uint32) string { return fmt.Sprintf("recovered-%d", id) }

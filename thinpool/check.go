package thinpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"thinctl/dm"
	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
)

// Finding is something that database, kernel and metadata do not agree on.
type Finding struct {
	Code   string `json:"code"` // stable; see the Find constants
	Object string `json:"object"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy"`
	// Repairable: Repair mends it without losing anything.
	Repairable bool `json:"repairable"`

	id uint32
}

// The codes of findings.
const (
	FindIdentity   = "identity"       // the metadata is another pool's, blank or of another moment
	FindMetadata   = "metadata"       // thin_check found damage
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

// Report is the outcome of a check; no findings mean that all agree.
type Report struct {
	Pool     string    `json:"pool"`
	Active   bool      `json:"active"`
	Findings []Finding `json:"findings"`
}

// Check compares database, kernel and metadata, and changes nothing but that
// an active pool's metadata is committed and held while its devices are read.
func (p *Pool) Check(ctx context.Context) (Report, error) {
	lock, err := p.lock(ctx)
	if err != nil {
		return Report{}, err
	}
	defer lock.Release()
	return p.check(ctx)
}

func (p *Pool) check(ctx context.Context) (Report, error) {
	report := Report{Pool: p.name, Findings: []Finding{}}
	known, err := p.records(ctx)
	if err != nil {
		return report, p.failed("check", err)
	}
	_, status, err := p.kernelStatus(ctx)
	switch {
	case err == nil:
		report.Active = true
		err = p.checkActive(ctx, &report, known, status)
	case errors.Is(err, ErrInactive):
		err = p.checkInactive(ctx, &report, known)
	}
	if err != nil {
		return report, p.failed("check", err)
	}
	own, err := p.ownDevices(ctx)
	if err != nil {
		return report, p.failed("check", err)
	}
	for _, entry := range own {
		if err := p.checkDevice(ctx, &report, known, entry); err != nil {
			return report, p.failed("check", err)
		}
	}
	for _, tombstone := range known.tombstones {
		report.add(Finding{Code: FindTombstone, Object: p.volumeObject(tombstone.Name), id: tombstone.ID, Repairable: true,
			Detail: fmt.Sprintf("removed at %s, its blocks (device id %d) are still taken", tombstone.Removed.Format("2006-01-02 15:04:05"), tombstone.ID),
			Remedy: "they are given back when nobody uses the volume any more"})
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
		if k.pending, err = tx.Pending(); err != nil && !errors.Is(err, store.ErrNotFound) {
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

func (p *Pool) checkInactive(ctx context.Context, report *Report, known known) error {
	if err := p.checkIdentity(ctx, known.record); err != nil {
		finding := Finding{Code: FindIdentity, Object: p.object(), Detail: err.Error(),
			Remedy: fmt.Sprintf("`thinctl pool repair %s --dry-run` says what can be done", p.name)}
		if errors.Is(err, ErrNeedsCheck) {
			finding.Code, finding.Repairable = FindNeedsCheck, true
		}
		report.add(finding)
	}
	path := p.backingPath(known.record.Metadata)
	if p.host.Tools == nil {
		report.add(Finding{Code: FindUnchecked, Object: p.object(), Detail: "no metadata checker is at hand"})
		return nil
	}
	problems, err := p.host.Tools.Check(ctx, path)
	if err != nil {
		report.add(Finding{Code: FindUnchecked, Object: p.object(), Detail: err.Error()})
	}
	if len(problems) > 0 {
		report.add(Finding{Code: FindMetadata, Object: p.object(), Detail: strings.Join(problems, "; "), Repairable: true,
			Remedy: fmt.Sprintf("`thinctl pool repair %s` rebuilds what can be read and keeps the damaged copy", p.name)})
	}
	super, err := p.host.Disks.Superblock(path)
	if err != nil {
		return nil // said by the identity check
	}
	devices, err := p.host.Disks.ThinDevices(path, 0)
	if err != nil {
		report.add(Finding{Code: FindMetadata, Object: p.object(), Detail: err.Error(), Repairable: true})
		return nil
	}
	p.compareDevices(report, known, super.TransactionID, devices)
	return nil
}

func (p *Pool) checkActive(ctx context.Context, report *Report, known known, status dm.PoolStatus) error {
	if err := p.writable("check", status); err != nil {
		code := FindMode
		if status.NeedsCheck {
			code = FindNeedsCheck
		}
		report.add(Finding{Code: code, Object: p.object(), Detail: err.Error(), Remedy: fmt.Sprintf(
			"`thinctl pool deactivate %[1]s`, then `thinctl pool repair %[1]s`", p.name), Repairable: status.NeedsCheck})
		return nil
	}
	switch {
	case known.last == status.TransactionID:
	case known.last == status.TransactionID+1 && known.pending.Tx == known.last:
		report.add(Finding{Code: FindUnfinished, Object: p.volumeObject(known.pending.Volume), Repairable: true,
			Detail: "its creation was cut off", Remedy: "the next change or `thinctl pool repair` undoes it"})
	default:
		report.add(Finding{Code: FindIdentity, Object: p.object(),
			Detail: fmt.Sprintf("the pool is at transaction %d, the database at %d", status.TransactionID, known.last),
			Remedy: "one of them was restored from a copy, or another program drives the pool"})
	}
	if !p.hasSizes(status, known.record) {
		report.add(Finding{Code: FindUnfinished, Object: p.object(), Repairable: true,
			Detail: "an extension was cut off", Remedy: fmt.Sprintf("`thinctl pool repair %s` finishes it", p.name)})
	}
	if status.HeldRoot != 0 {
		report.add(Finding{Code: FindHeldRoot, Object: p.object(),
			Detail: fmt.Sprintf("a metadata snapshot is held at block %d: another program is reading, or was killed while it read", status.HeldRoot),
			Remedy: fmt.Sprintf("if nothing reads the pool: `dmsetup message %s 0 release_metadata_snap`", poolDeviceName(p.name))})
		return nil
	}
	devices, err := p.heldDevices(ctx, known.record)
	if err != nil {
		report.add(Finding{Code: FindUnchecked, Object: p.object(), Detail: err.Error()})
		return nil
	}
	p.compareDevices(report, known, status.TransactionID, devices)
	return nil
}

// heldDevices reads the thin devices of the active pool through a metadata
// snapshot, which is released whatever happens.
func (p *Pool) heldDevices(ctx context.Context, record store.Pool) (_ []metadata.Device, err error) {
	if _, err := p.host.Kernel.Message(ctx, p.ref(), "reserve_metadata_snap"); err != nil {
		return nil, err
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
		defer cancel()
		_, released := p.host.Kernel.Message(clean, p.ref(), "release_metadata_snap")
		err = errors.Join(err, released)
	}()
	_, status, err := p.kernelStatus(ctx)
	if err != nil {
		return nil, err
	}
	return p.host.Disks.ThinDevices(p.backingPath(record.Metadata), status.HeldRoot)
}

func (p *Pool) compareDevices(report *Report, known known, reached uint64, devices []metadata.Device) {
	there := make(map[uint32]bool, len(devices))
	for _, device := range devices {
		there[device.ID] = true
		_, volume := known.volumes[device.ID]
		_, tombstone := known.tombstones[device.ID]
		if volume || tombstone {
			continue
		}
		report.add(Finding{Code: FindOrphan, Object: fmt.Sprintf("%s, device id %d", p.object(), device.ID), id: device.ID, Repairable: true,
			Detail: fmt.Sprintf("%d blocks are mapped by a thin device that no volume has", device.MappedBlocks),
			Remedy: fmt.Sprintf("`thinctl pool repair %s` makes it the volume %s", p.name, adoptedName(device.ID))})
	}
	var missing []store.Volume
	for id, volume := range known.volumes {
		if !there[id] && volume.Tx <= reached {
			missing = append(missing, volume)
		}
	}
	slices.SortFunc(missing, func(a, b store.Volume) int { return int(a.ID) - int(b.ID) })
	for _, volume := range missing {
		report.add(Finding{Code: FindMissing, Object: p.volumeObject(volume.Name), id: volume.ID,
			Detail: fmt.Sprintf("the metadata has no device id %d: its contents are lost", volume.ID),
			Remedy: fmt.Sprintf("restore the metadata from a copy, or run `thinctl volume remove %s %s`", p.name, volume.Name)})
	}
}

func (p *Pool) checkDevice(ctx context.Context, report *Report, known known, entry ownEntry) error {
	info, err := p.host.Kernel.Info(ctx, dm.ByUUID(entry.UUID))
	if errors.Is(err, dm.ErrNotFound) {
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
			Detail: "it carries this pool's uuid, and no volume has its id", Remedy: fmt.Sprintf("`thinctl pool repair %s` removes it when nobody uses it", p.name)})
	case !info.ActiveTable:
		report.add(Finding{Code: FindUnfinished, Object: "device " + string(entry.Name), id: entry.id, Repairable: true,
			Detail: "its activation was cut off", Remedy: fmt.Sprintf("`thinctl pool repair %s` removes it", p.name)})
	}
	return nil
}

func adoptedName(id uint32) string { return fmt.Sprintf("recovered-%d", id) }

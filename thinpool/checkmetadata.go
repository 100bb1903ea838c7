package thinpool

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
)

// checkMetadata adds the findings of read to a report, or a finding with its error.
func (p *Pool) checkMetadata(ctx context.Context, report *Report, read func(context.Context, *Report) error) error {
	if report.refused {
		return nil
	}
	err := read(ctx, report)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return p.failed("check", err)
	case errors.Is(err, ErrHeldByOther):
		var held *Error
		errors.As(err, &held)
		report.add(Finding{Code: FindHeldRoot, Object: p.object(), Detail: held.Detail,
			Remedy: held.Remedy, Cure: held.Cure})
	default:
		report.add(Finding{Code: FindUnchecked, Object: p.object(), Detail: err.Error(), Err: err})
	}
	return nil
}

// check checks that the metadata is consistent, and compares its devices with the volumes.
func (r *Reading) check(ctx context.Context) ([]Finding, error) {
	o := metadata.CheckOptions{Held: r.Root.Block, DataBlocks: r.DataBlocks, Blocks: r.size}
	found, err := metadata.Check(ctx, r, o)
	if err != nil {
		if ctx.Err() == nil && r.notMetadata(err) {
			return nil, nil
		}
		return nil, err
	}
	r.Root = found.Superblock
	if r.Root.UUID != r.pool.id { // the check of its identity reports it
		return nil, nil
	}
	var findings []Finding
	for _, f := range found.Findings {
		if f.Code != metadata.CodeNeedsCheck { // the check of the pool's mode or identity reports it
			findings = append(findings, r.finding(f))
		}
	}
	if r.Root.DetailsRoot == 0 {
		return findings, nil
	}
	devices, err := metadata.Devices(r, r.Root)
	if err != nil {
		if len(findings) == 0 {
			return nil, err
		}
		return findings, nil // the damage that findings has is the cause
	}
	return append(findings, r.compareDevices(devices)...), nil
}

// notMetadata reports whether an inactive pool's metadata is blank or is no metadata. The
// check of its identity reports both.
func (r *Reading) notMetadata(err error) bool {
	return !r.Active && (errors.Is(err, metadata.ErrEmpty) || errors.Is(err, metadata.ErrNotMetadata))
}

// checkDevices compares the thin devices with the volumes, and checks nothing else.
func (r *Reading) checkDevices() ([]Finding, error) {
	devices, err := metadata.Devices(r, r.Root)
	if err != nil {
		return nil, err
	}
	return r.compareDevices(devices), nil
}

func (r *Reading) finding(f metadata.Finding) Finding {
	p := r.pool
	finding := Finding{
		Code: FindMetadata, Fault: f.Code, Object: p.object(), Detail: f.Text, Repairable: f.Repairable, Lost: f.Lost,
		Cure: p.cure(CureRebuild),
	}
	if f.Count > 1 {
		finding.Detail = fmt.Sprintf("%s (%d of this kind)", f.Text, f.Count)
	}
	if f.Severity == metadata.Leak {
		finding.Code = FindLeak
	}
	switch {
	case f.Code == metadata.CodeTime:
		finding.Remedy, finding.Cure = "move the volumes to a new pool before the last snapshot", nil
	case f.Code == metadata.CodeNotCounted: // the repair of the other damage removes it
		finding.Repairable = true
	case r.Active:
		finding.Cure = p.cure(CureRepairInactive)
	}
	for _, id := range f.Devices {
		finding.Detail += "; volume " + r.Thin(id).String()
	}
	return finding
}

func (r *Reading) compareDevices(devices []metadata.Device) []Finding {
	p := r.pool
	var findings []Finding
	present := make(map[uint32]bool, len(devices))
	for _, device := range devices {
		present[device.ID] = true
		_, volume := r.names.volumes[device.ID]
		_, tombstone := r.names.tombstones[device.ID]
		if volume || tombstone {
			continue
		}
		findings = append(findings, Finding{
			Code: FindOrphan, Object: fmt.Sprintf("%s, device id %d", p.object(), device.ID), id: device.ID, Repairable: true,
			Detail: fmt.Sprintf("%d blocks are mapped by a thin device that no volume has", device.MappedBlocks),
			Cure:   p.cure(CureAdopt),
		})
	}
	var missing []store.Volume
	for id, volume := range r.names.volumes {
		if !present[id] && r.counts(volume) {
			missing = append(missing, volume)
		}
	}
	slices.SortFunc(missing, func(a, b store.Volume) int { return int(a.ID) - int(b.ID) })
	for _, volume := range missing {
		findings = append(findings, Finding{
			Code: FindMissing, Object: p.volumeObject(volume.Name), id: volume.ID, Repairable: true,
			Detail: fmt.Sprintf("the metadata has no device id %d: its contents are lost", volume.ID),
			Cure:   p.cure(CureDropRecord),
		})
	}
	return findings
}

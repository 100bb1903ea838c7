package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
)

const keptPrefix = "metadata.damaged-"

// LostVolume is a volume that has lost blocks.
type LostVolume struct {
	Volume string `json:"volume"`
	// Kept and Lost are numbers of blocks; Lost may be too low. Gone reports that the
	// volume itself is lost too.
	Kept uint64 `json:"kept_blocks"`
	Lost uint64 `json:"lost_blocks"`
	Gone bool   `json:"gone"`
}

// repairMetadata clears the flag needs_check of sound metadata, and rebuilds damaged
// metadata.
func (p *Pool) repairMetadata(ctx context.Context, act func(string, func() error) error, repair *Repair) error {
	record, err := p.Record(ctx)
	if err != nil {
		return err
	}
	path := p.backingPath(record.Metadata)
	faults, err := p.unsound(ctx, path)
	if err != nil {
		return err
	}
	if len(faults) == 0 {
		if super, err := p.host.Disks.Superblock(path); err != nil || super.UUID != p.id {
			return errors.Join(err, &Error{Op: "repair", Object: p.object(), Kind: ErrSwapped, Detail: path,
				Remedy: remedyOwnMetadata})
		}
		return act("clear the needs_check flag of metadata that is sound", func() error {
			return p.host.Disks.ClearNeedsCheck(path)
		})
	}
	what, kept := "the metadata", p.keptName()
	if !record.Metadata.Loop {
		what += " on " + path
	}
	return act(fmt.Sprintf("rebuild %s; the damaged one is kept as %s", what, kept), func() error {
		lost, err := p.rebuild(ctx, record, kept)
		repair.Damaged, repair.Lost = kept, lost
		return err
	})
}

// keptName returns an unused name for damaged metadata that is kept.
func (p *Pool) keptName() string { return p.freeTimeName(keptPrefix, "") }

// lastKept returns the path of the newest damaged metadata that was kept, or "".
func (p *Pool) lastKept() (string, error) {
	entries, err := os.ReadDir(p.dir) // sorted by name, and so by time
	last := ""
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), keptPrefix) {
			last = p.path(entry.Name())
		}
	}
	return last, err
}

// unsound checks the metadata of an inactive pool, or the rebuilt metadata in its file,
// and returns the faults. Notices do not count as faults.
func (p *Pool) unsound(ctx context.Context, path string) (faults []metadata.Finding, err error) {
	file, err := p.host.Disks.Metadata(path, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	report, err := metadata.Check(ctx, file, metadata.CheckOptions{Blocks: uint64(size / metadataBlock)})
	for _, finding := range report.Findings {
		if finding.Severity > metadata.Notice {
			faults = append(faults, finding)
		}
	}
	return faults, err
}

// rebuild writes the readable part of the metadata into a new file, checks that, and
// then replaces the damaged metadata by it.
func (p *Pool) rebuild(ctx context.Context, record store.Pool, kept string) ([]LostVolume, error) {
	path, fresh := p.backingPath(record.Metadata), p.path(rebuiltFile)
	if err := p.detach(ctx, record); err != nil {
		return nil, err
	}
	if err := p.dropUnfinished(); err != nil {
		return nil, err
	}
	backing := record.Metadata
	if !backing.Loop {
		var err error
		if backing, err = p.deviceRebuildFile(backing); err != nil {
			return nil, err
		}
	}
	if err := p.makeFile(fresh, backing, backing.Size, record.Preallocated); err != nil {
		return nil, err
	}
	repaired, err := p.host.Disks.RebuildMetadata(ctx, path, fresh)
	if err != nil {
		return nil, errors.Join(err, p.host.Disks.Remove(fresh))
	}
	if faults, err := p.unsound(ctx, fresh); err != nil || len(faults) > 0 {
		return nil, errors.Join(err, fmt.Errorf("the rebuilt metadata %s is not sound either: %v", fresh, faults))
	}
	lost, err := p.lost(ctx, repaired)
	if err != nil {
		return nil, err
	}
	if repaired.Superblock.UUID != p.id {
		if err := p.host.Disks.Stamp(fresh, p.id); err != nil {
			return lost, err
		}
	}
	if !record.Metadata.Loop {
		return lost, p.replaceOnDevice(ctx, path, kept, backing)
	}
	if err := p.host.Disks.Rename(path, kept); err != nil {
		return lost, err
	}
	return lost, p.host.Disks.Rename(fresh, path)
}

// lost returns the volumes of which a rebuild could not save all blocks.
func (p *Pool) lost(ctx context.Context, repaired metadata.Repaired) ([]LostVolume, error) {
	names, err := p.records(ctx)
	if err != nil {
		return nil, err
	}
	r := &Reading{Root: repaired.Superblock, pool: p, names: names}
	lost := []LostVolume{}
	for _, device := range repaired.Devices {
		if device.Lost > 0 || device.Gone {
			lost = append(lost, LostVolume{Volume: r.Thin(device.ID).String(),
				Kept: device.Kept, Lost: device.Lost, Gone: device.Gone})
		}
	}
	return lost, nil
}

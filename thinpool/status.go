package thinpool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/disk"
	"thinctl/loopback"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// Status is a pool at one moment. Sizes are bytes.
type Status struct {
	Name   string
	UUID   string
	Dir    string
	Record store.Pool

	Active bool
	Device dm.Name
	Dev    blockdev.Number
	Kernel dm.PoolStatus // zero while inactive

	Data     Space
	Metadata Space
	Host     *loopback.Space // nil if no file of the pool is on the host

	Volumes    int
	Virtual    units.Bytes // the sum of the volumes' sizes
	Tombstones int         // removed volumes whose blocks are not free yet
}

// Space is one of a pool's two devices.
type Space struct {
	Total     units.Bytes
	Used      units.Bytes
	Available units.Bytes
	Path      string              // of the file or block device
	Identity  disk.Identity       // of a block device, from the pool's record
	Loop      string              // the loop device, "" on a block device or while inactive
	File      *loopback.FileUsage // nil on a block device
}

// Status returns the state of the pool, active or not. It takes no lock of the pool, and
// does not make the kernel commit metadata.
func (p *Pool) Status(ctx context.Context) (Status, error) {
	s := Status{Name: p.name, UUID: p.id.String(), Dir: p.dir, Device: poolDeviceName(p.name)}
	info, kernel, err := p.kernelStatus(ctx)
	switch {
	case err == nil:
		s.Active, s.Dev, s.Kernel = true, info.Dev, kernel
	case !errors.Is(err, ErrInactive):
		return s, err
	}
	reached, unknown := p.transactionID(ctx)
	err = p.db.View(ctx, func(tx *store.Tx) (err error) {
		if s.Record, err = tx.Pool(); err != nil {
			return err
		}
		for volume, err := range tx.Volumes() {
			if err != nil {
				return err
			}
			if unknown == nil && volume.Tx > reached {
				continue
			}
			s.Volumes++
			s.Virtual += volume.Size
		}
		for _, err := range tx.Tombstones() {
			if err != nil {
				return err
			}
			s.Tombstones++
		}
		return nil
	})
	if err != nil {
		return s, p.failed("status", err)
	}
	s.Tombstones -= p.reapedCount()
	s.Data = p.space(ctx, s.Record.Data, kernel.UsedData, s.Record.Block)
	s.Metadata = p.space(ctx, s.Record.Metadata, kernel.UsedMetadata, metadataBlock)
	if s.Record.Data.Loop || s.Record.Metadata.Loop {
		if host, err := p.host.Disks.Space(p.dir); err == nil {
			s.Host = &host
		}
	}
	return s, nil
}

func (p *Pool) reapedCount() int {
	p.reaped.Lock()
	defer p.reaped.Unlock()
	return len(p.reaped.ids)
}

func (p *Pool) space(ctx context.Context, backing store.Backing, used uint64, unit units.Bytes) Space {
	space := Space{
		Total:    backing.Size,
		Used:     units.Bytes(used) * unit,
		Path:     p.backingPath(backing),
		Identity: backing.Identity,
	}
	space.Available = space.Total - min(space.Used, space.Total)
	if !backing.Loop {
		return space
	}
	if usage, err := p.host.Disks.Usage(space.Path); err == nil {
		space.File = &usage
	}
	if loops, err := p.host.Loops.Find(ctx, space.Path); err == nil && len(loops) > 0 {
		space.Loop = loops[0].Path
	}
	return space
}

// Volumes lists the pool's volumes in the order of their names, with their devices. It
// takes no lock of the pool.
func (p *Pool) Volumes(ctx context.Context) ([]Volume, error) {
	reached, unknown := p.transactionID(ctx)
	if unknown != nil && !errors.Is(unknown, dm.ErrNoDeviceMapper) {
		return nil, unknown
	}
	var volumes []Volume
	err := p.db.View(ctx, func(tx *store.Tx) error {
		for record, err := range tx.Volumes() {
			if err != nil {
				return err
			}
			if record.Tx <= reached {
				volumes = append(volumes, plainVolume(record))
			}
		}
		return nil
	})
	if err != nil {
		return nil, p.failed("list the volumes of", err)
	}
	own, err := p.ownDevices(ctx)
	if err != nil {
		return nil, p.failed("list the volumes of", err)
	}
	active := make(map[uint32]dm.Entry, len(own))
	for _, entry := range own {
		if !entry.isPool {
			active[entry.id] = entry.Entry
		}
	}
	for i := range volumes {
		if entry, ok := active[volumes[i].ID]; ok {
			volumes[i].Active, volumes[i].Dev, volumes[i].Node = true, entry.Dev, nodeOf(volumes[i].For, entry.Name)
		}
	}
	return volumes, nil
}

// VolumeStatus is one volume in full.
type VolumeStatus struct {
	Volume
	// Mapped includes blocks shared with other volumes. It is valid if the volume is
	// active and the pool has not failed.
	Mapped  units.Bytes
	Highest units.Bytes // end of the highest mapped block
	Failed  bool
}

// VolumeStatus reports one volume.
func (p *Pool) VolumeStatus(ctx context.Context, name string) (VolumeStatus, error) {
	record, err := p.findVolume(ctx, "status", name)
	if err != nil {
		return VolumeStatus{}, err
	}
	return p.StatusOf(ctx, record)
}

// StatusOf is VolumeStatus for a caller that has read the record already.
func (p *Pool) StatusOf(ctx context.Context, record store.Volume) (VolumeStatus, error) {
	info, lines, err := p.host.Kernel.Status(ctx, p.volumeRef(record.ID), dm.StatusOptions{NoFlush: true})
	if errors.Is(err, fault.NotFound) {
		return VolumeStatus{Volume: plainVolume(record)}, nil
	}
	if err != nil {
		return VolumeStatus{}, p.volumeFailed("status", record.Name, err)
	}
	s := VolumeStatus{Volume: activeVolume(record, info)}
	if len(lines) == 0 {
		s.Failed = true
		return s, nil
	}
	thin, err := dm.ParseThinStatus(lines[0])
	if err != nil {
		return s, p.volumeFailed("status", record.Name, err)
	}
	s.Failed, s.Mapped = thin.Failed, thin.Mapped.Bytes()
	if thin.Mapped > 0 {
		s.Highest = (thin.Highest + 1).Bytes()
	}
	return s, nil
}

// List returns the sorted names of the pools under root, including pools without their
// database. It returns none if root does not exist.
func List(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		dir := filepath.Join(root, entry.Name())
		if _, err := os.Stat(filepath.Join(dir, databaseFile)); err == nil || isPoolDir(dir) {
			names = append(names, entry.Name())
		}
	}
	sort.Strings(names)
	return names, nil
}

// wasReaped reports whether a removed volume's blocks are free, although the database
// still has its tombstone.
func (p *Pool) wasReaped(id uint32) bool {
	p.reaped.Lock()
	defer p.reaped.Unlock()
	return p.reaped.ids[id]
}

package thinpool

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// Usage is who takes what of a pool, exactly, at one moment.
type Usage struct {
	Active        bool
	Taken         time.Time
	TransactionID uint64
	Block         units.Bytes // of the pool's data

	// Used is Exclusive and Shared; Exclusive is the sum of the volumes'. It is
	// what an active pool's status says that is used, unless more was written
	// since the moment. Free is the rest of Total.
	Total, Used, Free units.Bytes
	Exclusive, Shared units.Bytes
	// Unmapped is what is taken although no thin device maps it, known to the
	// database or not: a leak. What was written to an active pool in the moment
	// between the metadata snapshot and the count counts as well.
	Unmapped units.Bytes

	// MetadataTotal is the size of the metadata, MetadataTrees what the volumes'
	// mappings take of it.
	MetadataTotal, MetadataTrees units.Bytes

	Volumes []VolumeUsage // by name; then those removed, then those unknown
	// Freed is what comes back when all of UsageOptions.Freed go; Volumes has
	// each alone.
	Freed units.Bytes
	// Sets is what comes back when all of one of UsageOptions.Sets go.
	Sets map[string]units.Bytes
}

// VolumeUsage is what one thin device takes.
type VolumeUsage struct {
	Thin
	// Mapped is Exclusive, which no other thin device maps and which comes back
	// when this one goes, and Shared.
	Mapped, Exclusive, Shared units.Bytes
}

// UsageOptions say what Usage looks at.
type UsageOptions struct {
	// Freed are the names of volumes that might be removed together.
	Freed []string
	// Sets are more such, by any key. A volume that is not there counts nothing.
	Sets map[string][]string
}

// Usage reads the whole metadata as ReadMetadata does, each node once.
func (p *Pool) Usage(ctx context.Context, options UsageOptions) (Usage, error) {
	var usage Usage
	err := p.ReadMetadata(ctx, func(r *Reading) (err error) {
		usage, err = r.Usage(ctx, options)
		return err
	})
	return usage, err
}

// Usage is Pool.Usage of this reading.
func (r *Reading) Usage(ctx context.Context, options UsageOptions) (Usage, error) {
	ids, err := r.volumes(options.Freed)
	if err != nil {
		return Usage{}, err
	}
	m, err := r.scan(ctx)
	if err != nil {
		return Usage{}, err
	}
	u := r.usage(m.Usage())
	if len(ids) > 0 {
		blocks, err := m.Freed(ctx, ids...)
		if err != nil {
			return Usage{}, err
		}
		u.Freed = r.bytes(blocks)
	}
	u.Sets, err = r.sets(ctx, m, options.Sets)
	return u, err
}

func (r *Reading) sets(ctx context.Context, m *metadata.Map, sets map[string][]string) (map[string]units.Bytes, error) {
	freed := map[string]units.Bytes{}
	for key, names := range sets {
		var ids []uint32
		for _, name := range names {
			id, err := r.Volume(name)
			if errors.Is(err, ErrNoVolume) {
				continue
			}
			if err != nil {
				return nil, err
			}
			ids = append(ids, id)
		}
		blocks, err := m.Freed(ctx, ids...)
		if err != nil {
			return nil, err
		}
		freed[key] = r.bytes(blocks)
	}
	return freed, nil
}

func (r *Reading) scan(ctx context.Context) (*metadata.Map, error) {
	return metadata.Scan(ctx, r, r.Root, metadata.ScanOptions{DataBlocks: r.DataBlocks})
}

func (r *Reading) bytes(blocks uint64) units.Bytes { return units.Bytes(blocks) * r.Block }

func (r *Reading) volumes(names []string) ([]uint32, error) {
	var ids []uint32
	for _, name := range names {
		id, err := r.Volume(name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (r *Reading) usage(found metadata.Usage) Usage {
	taken := r.Root.DataSpaceMap.Allocated
	if r.Active {
		taken = r.Kernel.UsedData
	}
	u := Usage{
		Active: r.Active, Taken: r.Taken, TransactionID: r.Root.TransactionID, Block: r.Block,
		Total: r.bytes(r.DataBlocks), Used: r.bytes(found.Used), Free: r.bytes(r.DataBlocks - min(found.Used, r.DataBlocks)),
		Exclusive: r.bytes(found.Exclusive), Shared: r.bytes(found.Shared), Unmapped: r.bytes(taken - min(found.Used, taken)),
		MetadataTotal: r.names.record.Metadata.Size, MetadataTrees: units.Bytes(found.Nodes) * metadata.BlockSize,
	}
	for _, device := range found.Devices {
		u.Volumes = append(u.Volumes, VolumeUsage{
			Thin: r.Thin(device.ID), Mapped: r.bytes(device.Mapped),
			Exclusive: r.bytes(device.Exclusive), Shared: r.bytes(device.Shared),
		})
	}
	slices.SortFunc(u.Volumes, func(a, b VolumeUsage) int { return a.order(b.Thin) })
	return u
}

// order puts volumes by name before what was removed, and that before what
// nobody knows.
func (t Thin) order(other Thin) int {
	kind := func(t Thin) int {
		switch {
		case t.Name == "":
			return 2
		case t.Removed:
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(kind(t), kind(other)), strings.Compare(t.Name, other.Name), cmp.Compare(t.ID, other.ID))
}

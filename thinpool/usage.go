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

// Usage is the exact use of a pool's space at one moment.
type Usage struct {
	Active        bool
	Taken         time.Time
	TransactionID uint64
	Block         units.Bytes // of the pool's data

	// Used is the sum of Exclusive and Shared, and Exclusive is the sum over the volumes.
	// Used equals that of an active pool's status unless blocks were written after the
	// moment of the reading. Free is the rest of Total.
	Total, Used, Free units.Bytes
	Exclusive, Shared units.Bytes
	// Unmapped is the space of allocated blocks that no thin device maps: a leak. In an
	// active pool it includes blocks written between the metadata snapshot and the count.
	Unmapped units.Bytes

	// MetadataTotal is the size of the metadata. MetadataTrees is the part that the
	// volumes' mappings occupy.
	MetadataTotal, MetadataTrees units.Bytes

	Volumes []VolumeUsage // by name, then removed volumes, then unknown devices
	// Freed is the space that the removal of all volumes of UsageOptions.Freed frees.
	Freed units.Bytes
	// Sets is the space that the removal of all volumes of a set frees, by the keys of
	// UsageOptions.Sets.
	Sets map[string]units.Bytes
}

// VolumeUsage is the space that one thin device uses.
type VolumeUsage struct {
	Thin
	// Mapped is the sum of Exclusive and Shared. Exclusive blocks are mapped by no other
	// thin device, and become free when this one is removed.
	Mapped, Exclusive, Shared units.Bytes
}

// UsageOptions select the volumes for which Usage counts the space that a removal frees.
type UsageOptions struct {
	// Freed has the names of volumes that are to be removed in one step.
	Freed []string
	// Sets has more lists of names, by any key. A volume that does not exist counts as 0.
	Sets map[string][]string
}

// Usage reads the whole metadata, each node once; see [Pool.ReadMetadata].
func (p *Pool) Usage(ctx context.Context, options UsageOptions) (Usage, error) {
	var usage Usage
	err := p.ReadMetadata(ctx, func(r *Reading) (err error) {
		usage, err = r.Usage(ctx, options)
		return err
	})
	return usage, err
}

// Usage returns the usage at the moment of this reading; see [Pool.Usage].
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
		Active:        r.Active,
		Taken:         r.Taken,
		TransactionID: r.Root.TransactionID,
		Block:         r.Block,
		Total:         r.bytes(r.DataBlocks),
		Used:          r.bytes(found.Used),
		Free:          r.bytes(r.DataBlocks - min(found.Used, r.DataBlocks)),
		Exclusive:     r.bytes(found.Exclusive),
		Shared:        r.bytes(found.Shared),
		Unmapped:      r.bytes(taken - min(found.Used, taken)),
		MetadataTotal: r.names.record.Metadata.Size,
		MetadataTrees: units.Bytes(found.Nodes) * metadata.BlockSize,
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

// order compares two thin devices: volumes come first, by name, then removed volumes,
// then devices that the database does not have.
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

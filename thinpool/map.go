package thinpool

import (
	"context"
	"errors"
	"fmt"

	"thinctl/fault"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// DataMap describes which thin devices map the blocks of a pool's data device.
type DataMap struct {
	Block  units.Bytes // size of a block
	Blocks uint64      // of the data device
	Thins  []Thin      // the thin devices in the metadata
	// Spans visits each block of the device once, in order. It returns the error of visit.
	Spans func(visit func(DataSpan) error) error
}

// DataSpan is a range of data blocks of one kind.
type DataSpan struct {
	Begin, Blocks uint64
	Kind          metadata.SpanKind
	Thin          int // index into DataMap.Thins, for metadata.Exclusive only
}

// DataMap calls read with a map that is valid during the call. It may call read twice.
// The results of read are valid only if DataMap returns nil; see ReadMetadata.
func (p *Pool) DataMap(ctx context.Context, read func(DataMap) error) error {
	return p.ReadMetadata(ctx, func(r *Reading) error {
		m, err := r.DataMap(ctx)
		if err != nil {
			return err
		}
		return read(m)
	})
}

// DataMap returns the map of this reading; see [Pool.DataMap].
func (r *Reading) DataMap(ctx context.Context) (DataMap, error) {
	m, err := r.scan(ctx)
	if err != nil {
		return DataMap{}, err
	}
	data := DataMap{Block: r.Block, Blocks: r.DataBlocks}
	index := map[uint32]int{}
	for i, device := range m.Usage().Devices {
		index[device.ID] = i
		data.Thins = append(data.Thins, r.Thin(device.ID))
	}
	data.Spans = func(visit func(DataSpan) error) error {
		return m.Layout(ctx, func(s metadata.Span) error {
			return visit(DataSpan{Begin: s.Begin, Blocks: s.Blocks, Kind: s.Kind, Thin: index[s.Device]})
		})
	}
	return data, nil
}

// Owner is a thin device that maps a range of the pool's data, with the place of the
// range in both.
type Owner struct {
	Thin
	Data, Virtual, Length units.Bytes
}

// Owners lists the thin devices that map the pool's data from begin to end, without
// end, in the order of place and device id. It includes blocks that the range touches
// only in part.
func (p *Pool) Owners(ctx context.Context, begin, end units.Bytes) ([]Owner, error) {
	if begin >= end {
		return nil, p.failed("look for owners in",
			fmt.Errorf("%w: the range from %s to %s is empty", fault.Invalid, begin, end))
	}
	var owners []Owner
	err := p.ReadMetadata(ctx, func(r *Reading) error {
		total := r.bytes(r.DataBlocks)
		if begin >= total {
			return fmt.Errorf("%w: the pool's data ends at %s", fault.Invalid, total)
		}
		m, err := r.scan(ctx)
		if err != nil {
			return err
		}
		owners = nil
		first, last := uint64(begin/r.Block), uint64((min(end, total)-1)/r.Block)
		return m.Owners(ctx, first, last+1, func(o metadata.Owner) error {
			owners = append(owners, Owner{Thin: r.Thin(o.Device),
				Data: r.bytes(o.Data), Virtual: r.bytes(o.Virtual), Length: r.bytes(o.Blocks)})
			return nil
		})
	})
	return owners, err
}

// VolumeRun is a range of a volume whose data is contiguous and was written at one time
// of the pool. The kernel raises that time by one with each snapshot.
type VolumeRun struct {
	Virtual, Data, Length units.Bytes
	Time                  uint32
}

// VolumeMap lists where a volume's mapped blocks are, in the order of the volume. Each
// run is as long as possible.
func (p *Pool) VolumeMap(ctx context.Context, name string) ([]VolumeRun, error) {
	var runs []VolumeRun
	err := p.ReadMetadata(ctx, func(r *Reading) error {
		id, err := r.Volume(name)
		if err != nil {
			return err
		}
		runs = nil
		return r.nameMissing(name, metadata.Runs(ctx, r, r.Root, id, func(run metadata.Run) error {
			runs = append(runs, VolumeRun{Virtual: r.bytes(run.Virtual), Data: r.bytes(run.Data),
				Length: r.bytes(run.Blocks), Time: run.Time})
			return nil
		}))
	})
	return runs, err
}

// VolumeDifference is a range in which two volumes are the same or differ. Left and
// Right are the places of its first byte in the pool's data, on the sides that map it.
type VolumeDifference struct {
	Kind            metadata.DeltaKind
	Virtual, Length units.Bytes
	Left, Right     units.Bytes
}

// VolumeDelta holds the differences of two volumes.
type VolumeDelta struct {
	Block       units.Bytes
	Differences []VolumeDifference // in the order of the volumes
}

// VolumeDelta compares where the blocks of two volumes are, not their contents: shared
// blocks are the same, all others count as different. If same is true, it lists the
// shared ranges too, and has to read the whole mappings.
func (p *Pool) VolumeDelta(ctx context.Context, left, right string, same bool) (VolumeDelta, error) {
	var delta VolumeDelta
	err := p.ReadMetadata(ctx, func(r *Reading) error {
		ids, err := r.volumes([]string{left, right})
		if err != nil {
			return err
		}
		delta = VolumeDelta{Block: r.Block}
		add := func(d metadata.Difference) error {
			delta.Differences = append(delta.Differences, VolumeDifference{
				Kind: d.Kind, Virtual: r.bytes(d.Virtual), Length: r.bytes(d.Blocks),
				Left: r.bytes(d.Left), Right: r.bytes(d.Right)})
			return nil
		}
		err = metadata.Delta(ctx, r, r.Root, ids[0], ids[1], metadata.DeltaOptions{Same: same}, add)
		return r.nameMissing(left+" or "+right, err)
	})
	return delta, err
}

// nameMissing adds the name of the volume to the error for a device id that the
// metadata does not have.
func (r *Reading) nameMissing(name string, err error) error {
	if !errors.Is(err, metadata.ErrNoDevice) {
		return err
	}
	return &Error{Op: "read", Object: r.pool.volumeObject(name), Kind: fault.Unhealthy, Err: err,
		Cure: r.pool.cure(CureCheck)}
}

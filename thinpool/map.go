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
	// Spans visits each block of the device once, in order. It returns visit's error.
	Spans func(visit func(DataSpan) error) error
}

// DataSpan is a range of data blocks of one kind.
type DataSpan struct {
	Begin, Blocks uint64
	Kind          metadata.SpanKind
	Thin          int // index into DataMap.Thins, for metadata.Exclusive only
}

// DataMap calls read with a map that is valid during the call. What read made of it
// is valid only when DataMap has returned nil, and read may be called twice; see
// ReadMetadata.
func (p *Pool) DataMap(ctx context.Context, read func(DataMap) error) error {
	return p.ReadMetadata(ctx, func(r *Reading) error {
		m, err := r.DataMap(ctx)
		if err != nil {
			return err
		}
		return read(m)
	})
}

// DataMap is Pool.DataMap of this reading.
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

// Owner says that a thin device maps a stretch of the pool's data, and where.
type Owner struct {
	Thin
	Data, Virtual, Length units.Bytes
}

// Owners lists all that map the pool's data from begin up to, but not with,
// end: by place, then by device id. Blocks that the range only touches are in.
func (p *Pool) Owners(ctx context.Context, begin, end units.Bytes) ([]Owner, error) {
	if begin >= end {
		return nil, p.failed("look for owners in", fmt.Errorf("%w: from %s to %s there is nothing", fault.Invalid, begin, end))
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
			owners = append(owners, Owner{Thin: r.Thin(o.Device), Data: r.bytes(o.Data), Virtual: r.bytes(o.Virtual), Length: r.bytes(o.Blocks)})
			return nil
		})
	})
	return owners, err
}

// VolumeRun is a stretch of a volume that lies in one place and was written at
// one time of the pool, which goes up by one with each snapshot.
type VolumeRun struct {
	Virtual, Data, Length units.Bytes
	Time                  uint32
}

// VolumeMap lists where a volume's mapped blocks lie, in the order of the
// volume, in the longest runs.
func (p *Pool) VolumeMap(ctx context.Context, name string) ([]VolumeRun, error) {
	var runs []VolumeRun
	err := p.ReadMetadata(ctx, func(r *Reading) error {
		id, err := r.Volume(name)
		if err != nil {
			return err
		}
		runs = nil
		return r.known(name, metadata.Runs(ctx, r, r.Root, id, func(run metadata.Run) error {
			runs = append(runs, VolumeRun{Virtual: r.bytes(run.Virtual), Data: r.bytes(run.Data), Length: r.bytes(run.Blocks), Time: run.Time})
			return nil
		}))
	})
	return runs, err
}

// VolumeDifference is a stretch in which two volumes are alike or not. Left and
// Right are where its first byte lies, on the sides that map it.
type VolumeDifference struct {
	Kind            metadata.DeltaKind
	Virtual, Length units.Bytes
	Left, Right     units.Bytes
}

// VolumeDelta is how two volumes differ.
type VolumeDelta struct {
	Block       units.Bytes
	Differences []VolumeDifference // in the order of the volumes
}

// VolumeDelta compares where two volumes' blocks lie, not what is in them: what
// is shared is the same, all else counts as different. With same it tells of
// what is shared as well, which takes reading all of it.
func (p *Pool) VolumeDelta(ctx context.Context, left, right string, same bool) (VolumeDelta, error) {
	var delta VolumeDelta
	err := p.ReadMetadata(ctx, func(r *Reading) error {
		ids, err := r.volumes([]string{left, right})
		if err != nil {
			return err
		}
		delta = VolumeDelta{Block: r.Block}
		return r.known(left+" or "+right, metadata.Delta(ctx, r, r.Root, ids[0], ids[1], metadata.DeltaOptions{Same: same},
			func(d metadata.Difference) error {
				delta.Differences = append(delta.Differences, VolumeDifference{Kind: d.Kind, Virtual: r.bytes(d.Virtual), Length: r.bytes(d.Blocks),
					Left: r.bytes(d.Left), Right: r.bytes(d.Right)})
				return nil
			}))
	})
	return delta, err
}

// known says which volume a device id is that the metadata has not.
func (r *Reading) known(name string, err error) error {
	if !errors.Is(err, metadata.ErrNoDevice) {
		return err
	}
	return &Error{Op: "read", Object: r.pool.volumeObject(name), Kind: fault.Unhealthy, Err: err,
		Remedy: remedyCheck(r.pool.name)}
}

func remedyCheck(pool string) string { return fmt.Sprintf("run `thinctl pool check %s`", pool) }

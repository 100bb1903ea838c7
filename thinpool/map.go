package thinpool

import (
	"context"
	"errors"
	"fmt"

	"thinctl/poolmap"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// Map calls draw with the pool's data device as a map of its blocks, which
// holds for the call. What draw writes is only good once Map has returned nil,
// and draw may be called twice; see ReadMetadata.
func (p *Pool) Map(ctx context.Context, draw func(poolmap.Map) error) error {
	return p.ReadMetadata(ctx, func(r *Reading) error {
		m, err := r.Map(ctx)
		if err != nil {
			return err
		}
		return draw(m)
	})
}

// Map is Pool.Map of this reading.
func (r *Reading) Map(ctx context.Context) (poolmap.Map, error) {
	m, err := r.scan(ctx)
	if err != nil {
		return poolmap.Map{}, err
	}
	drawn := poolmap.Map{BlockSize: r.Block, Blocks: r.DataBlocks}
	owners := map[uint32]int{}
	for i, device := range m.Usage().Devices {
		owners[device.ID] = i
		drawn.Owners = append(drawn.Owners, r.Thin(device.ID).String())
	}
	kinds := [...]poolmap.Kind{metadata.Free: poolmap.Free, metadata.Exclusive: poolmap.Exclusive, metadata.Shared: poolmap.Shared}
	drawn.Spans = func(visit func(poolmap.Span) error) error {
		return m.Layout(ctx, func(s metadata.Span) error {
			return visit(poolmap.Span{Begin: s.Begin, Blocks: s.Blocks, Kind: kinds[s.Kind], Owner: owners[s.Device]})
		})
	}
	return drawn, nil
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
		return nil, p.failed("look for owners in", fmt.Errorf("%w: from %s to %s there is nothing", ErrInvalid, begin, end))
	}
	var owners []Owner
	err := p.ReadMetadata(ctx, func(r *Reading) error {
		total := r.bytes(r.DataBlocks)
		if begin >= total {
			return fmt.Errorf("%w: the pool's data ends at %s", ErrInvalid, total)
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
	return &Error{Op: "read", Object: r.pool.volumeObject(name), Kind: ErrUnhealthy, Err: err,
		Remedy: remedyCheck(r.pool.name)}
}

func remedyCheck(pool string) string { return fmt.Sprintf("run `thinctl pool check %s`", pool) }

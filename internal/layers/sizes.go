package layers

import (
	"context"
	"errors"

	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// Size is the space of a layer or a container in the pool.
type Size struct {
	// Own is the space of the blocks that differ from the parent's for a layer, and
	// from the init's for a container.
	Own units.Bytes
	// Mapped is the space of all its blocks, with those that it shares. Exclusive is
	// the space that is freed when it alone is removed. Both are zero with
	// SizesOptions.Own.
	Mapped, Exclusive units.Bytes
}

// Sizes are of one moment. Objects that were made or removed at that time can be
// missing.
type Sizes struct {
	Layers     map[string]Size // by id
	Containers map[string]Size // by id
	Inits      map[string]Size // by key
	// Usage is that of the whole pool, of the same moment; zero with SizesOptions.Own.
	Usage thinpool.Usage
}

// SizesOptions limit what is read.
type SizesOptions struct {
	// Own limits the result to Size.Own. Only the differences are read, and not the
	// whole metadata.
	Own bool
	// Layers and Containers are the ids to be measured, if one of them is set.
	Layers, Containers []string
}

// Sizes measures layers and containers in the pool's mapping trees.
func (s *Store) Sizes(ctx context.Context, o SizesOptions) (Sizes, error) {
	var sizes Sizes
	subjects, err := s.subjects(ctx, o)
	if err != nil {
		return sizes, failed("measure", "pool "+s.pool.Name(), err)
	}
	err = s.pool.ReadMetadata(ctx, func(r *thinpool.Reading) error {
		sizes = Sizes{Layers: map[string]Size{}, Containers: map[string]Size{}, Inits: map[string]Size{}}
		return sizes.read(ctx, r, subjects, o)
	})
	return sizes, failed("measure", "pool "+s.pool.Name(), err)
}

// subject is a volume to be measured.
type subject struct {
	volume, below string
	into          func(*Sizes) map[string]Size
	key           string
}

func (s *Store) subjects(ctx context.Context, o SizesOptions) (subjects []subject, err error) {
	all := o.Layers == nil && o.Containers == nil
	wanted := map[string]bool{}
	for _, ids := range [][]string{o.Layers, o.Containers} {
		for _, id := range ids {
			wanted[id] = true
		}
	}
	err = s.pool.View(ctx, func(tx *thinpool.Tx) error {
		subjects = nil
		layers, err := AllIn(tx)
		if err != nil {
			return err
		}
		for _, l := range layers {
			if all || wanted[l.ID] {
				subjects = append(
					subjects,
					subject{
						l.Tree().Volume,
						l.Below().Volume,
						func(s *Sizes) map[string]Size { return s.Layers },
						l.ID,
					},
				)
			}
		}
		containers, err := ContainersIn(tx)
		if err != nil {
			return err
		}
		for _, c := range containers {
			if all || wanted[c.ID] {
				subjects = append(
					subjects,
					subject{
						c.Tree().Volume,
						c.Below().Volume,
						func(s *Sizes) map[string]Size { return s.Containers },
						c.ID,
					},
				)
			}
		}
		if !all {
			return nil
		}
		inits, err := initsIn(tx)
		for _, i := range inits {
			subjects = append(
				subjects,
				subject{initVolume(i.Key), i.Below().Volume, func(s *Sizes) map[string]Size { return s.Inits }, i.Key},
			)
		}
		return err
	})
	return subjects, err
}

func (s *Sizes) read(ctx context.Context, r *thinpool.Reading, subjects []subject, o SizesOptions) error {
	usage := map[string]thinpool.VolumeUsage{}
	if !o.Own {
		var err error
		if s.Usage, err = r.Usage(ctx, thinpool.UsageOptions{}); err != nil {
			return err
		}
		for _, v := range s.Usage.Volumes {
			if !v.Removed {
				usage[v.Name] = v
			}
		}
	}
	for _, one := range subjects {
		own, err := ownBlocks(ctx, r, one)
		if errors.Is(err, thinpool.ErrNoVolume) {
			continue
		}
		if err != nil {
			return err
		}
		u := usage[one.volume]
		one.into(s)[one.key] = Size{Own: own, Mapped: u.Mapped, Exclusive: u.Exclusive}
	}
	return nil
}

func ownBlocks(ctx context.Context, r *thinpool.Reading, of subject) (units.Bytes, error) {
	below, err := r.Volume(of.below)
	if err != nil {
		return 0, err
	}
	own, err := r.Volume(of.volume)
	if err != nil {
		return 0, err
	}
	var blocks uint64
	err = metadata.Delta(ctx, r, r.Root, below, own, metadata.DeltaOptions{}, func(d metadata.Difference) error {
		if d.Kind != metadata.LeftOnly {
			blocks += d.Blocks
		}
		return nil
	})
	if errors.Is(err, metadata.ErrNoDevice) {
		return 0, &Error{Op: "measure", Object: "volume " + of.volume, Err: err, Cure: Cure{Code: CureCheck}}
	}
	return units.Bytes(blocks) * r.Block, err
}

// FreedByContainer returns the space that the removal of a container frees. It reads
// only the part of the metadata that the container does not share.
func (s *Store) FreedByContainer(ctx context.Context, idOrName string) (units.Bytes, error) {
	c, err := s.Container(ctx, idOrName)
	if err != nil {
		return 0, err
	}
	freed, err := s.pool.Freed(ctx, containerVolume(c.ID))
	return freed, failed("measure", "container "+c.Name, err)
}

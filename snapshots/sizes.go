package snapshots

import (
	"context"
	"errors"

	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// Size is what a layer or a container takes of the pool.
type Size struct {
	// Own are the blocks that differ from what it is the difference to: of a layer
	// from its parent's, of a container from its init's.
	Own units.Bytes
	// Mapped are all its blocks, also those that it shares; Exclusive those that
	// come back when it alone goes. Zero with SizesOptions.Own.
	Mapped, Exclusive units.Bytes
}

// Sizes are of one moment. What was made or removed just then is missing.
type Sizes struct {
	Layers     map[string]Size // by id
	Containers map[string]Size // by id
	Inits      map[string]Size // by key
	// Usage is the whole pool's, of the same moment; zero with SizesOptions.Own.
	Usage thinpool.Usage
}

// SizesOptions narrow down what is read.
type SizesOptions struct {
	// Own: nothing but Size.Own, for which only what differs is read, and not the
	// whole metadata.
	Own bool
	// Layers and Containers, ids, are all that is looked at if one of them is set.
	Layers, Containers []string
}

// Sizes tells what layers and containers take, from the pool's mapping trees.
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
		layers, err := documents[Layer](tx, kindLayers)
		if err != nil {
			return err
		}
		for _, l := range layers {
			if all || wanted[l.ID] {
				subjects = append(subjects, subject{l.Tree().volume, l.Below().volume, func(s *Sizes) map[string]Size { return s.Layers }, l.ID})
			}
		}
		containers, err := documents[Container](tx, kindContainers)
		if err != nil {
			return err
		}
		for _, c := range containers {
			if all || wanted[c.ID] {
				subjects = append(subjects, subject{c.Tree().volume, c.Below().volume, func(s *Sizes) map[string]Size { return s.Containers }, c.ID})
			}
		}
		if !all {
			return nil
		}
		inits, err := documents[Init](tx, kindInits)
		for _, i := range inits {
			subjects = append(subjects, subject{initVolume(i.Key), i.below(), func(s *Sizes) map[string]Size { return s.Inits }, i.Key})
		}
		return err
	})
	return subjects, err
}

func (i Init) below() string {
	if i.Layer != "" {
		return layerVolume(i.Layer)
	}
	return templateVolume(i.Key)
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
		if goneBelow(err) {
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
		return 0, &Error{Op: "measure", Object: "volume " + of.volume, Err: err, Remedy: "run `thinctl pool check`"}
	}
	return units.Bytes(blocks) * r.Block, err
}

// FreedByContainer tells what comes back to the pool when a container goes. It
// reads no more of the metadata than what the container has alone.
func (s *Store) FreedByContainer(ctx context.Context, idOrName string) (units.Bytes, error) {
	c, err := s.Container(ctx, idOrName)
	if err != nil {
		return 0, err
	}
	freed, err := s.pool.Freed(ctx, containerVolume(c.ID))
	return freed, failed("measure", "container "+c.Name, err)
}

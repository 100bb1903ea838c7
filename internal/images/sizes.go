package images

import (
	"context"

	"thinctl/internal/layers"
)

// sized returns all layers with their sizes. Until its digest is computed, the size of a
// committed layer is the size of the blocks that differ from its parent's. It is 0 if the
// pool's metadata cannot be read, since a list of images must not fail for that.
func (s *Store) sized(ctx context.Context) ([]layers.Layer, error) {
	all, err := s.layers.Layers(ctx)
	if err != nil {
		return nil, err
	}
	return all, s.estimate(ctx, all)
}

func (s *Store) estimate(ctx context.Context, all []layers.Layer) error {
	var uncounted []string
	for _, layer := range all {
		if layer.DiffID == "" {
			uncounted = append(uncounted, layer.ID)
		}
	}
	if len(uncounted) == 0 {
		return nil
	}
	sizes, err := s.layers.Sizes(ctx, layers.SizesOptions{Own: true, Layers: uncounted})
	if err != nil {
		return ctx.Err()
	}
	for i, layer := range all {
		if layer.DiffID == "" {
			all[i].Size = sizes.Layers[layer.ID].Own
		}
	}
	return nil
}

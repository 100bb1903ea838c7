package images

import (
	"context"
	"errors"

	"thinctl/internal/layers"
	"thinctl/thinpool"
)

// PruneOptions change what a prune removes.
type PruneOptions struct {
	// Images adds images without a name and without containers.
	Images bool
}

// PlanPrune returns what Prune would do, and the space that it would free.
func (s *Store) PlanPrune(ctx context.Context, o PruneOptions) (Removal, error) {
	return s.planPrune(ctx, o, true)
}

func (s *Store) planPrune(ctx context.Context, o PruneOptions, measure bool) (Removal, error) {
	var what selection
	var ids []string
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		what, err = unnamed(tx, o)
		return err
	})
	if err == nil {
		ids, err = s.allLayers(ctx)
	}
	if err != nil {
		return Removal{}, err
	}
	plan, err := s.layers.PlanRemoval(ctx, ids,
		layers.RemovalOptions{Needed: neededWithout(what.keys()), Unused: true, Measure: measure})
	removal := planned(plan)
	removal.Images, removal.Kept = what.images, nil
	return removal, err
}

// Prune removes the layers that no image and no container needs, such as those of failed
// loads, and the images that the options select, in one transaction.
func (s *Store) Prune(ctx context.Context, o PruneOptions) (Removal, error) {
	plan, err := s.planPrune(ctx, o, false)
	if err != nil || len(plan.Images)+len(plan.Layers) == 0 {
		return plan, err
	}
	ids, err := s.allLayers(ctx)
	if err != nil {
		return Removal{}, err
	}
	what := selection{images: plan.Images}
	removed, err := s.layers.RemoveLayers(ctx, ids, layers.RemovalOptions{
		Unused: true,
		Needed: func(tx *thinpool.Tx) (map[string]string, error) { return neededWithout(what.keys())(tx) },
		With: func(tx *thinpool.Tx) (err error) {
			if what, err = unnamed(tx, o); err != nil {
				return err
			}
			return what.deleteIn(tx)
		},
	})
	if err != nil && len(removed.Layers) == 0 {
		return Removal{}, err
	}
	removal := Removal{Images: what.images, Layers: removed.Layers, Waiting: removed.Waiting}
	return removal, errors.Join(err, s.dropSplits(ctx, removed.Layers))
}

// unnamed selects the images without a name and without containers.
func unnamed(tx *thinpool.Tx, o PruneOptions) (selection, error) {
	var what selection
	if !o.Images {
		return what, nil
	}
	images, err := list(tx)
	if err != nil {
		return what, err
	}
	for _, image := range images {
		if len(image.Names) > 0 {
			continue
		}
		err := unused(tx, image)
		if errors.Is(err, errInUse) {
			continue
		}
		if err != nil {
			return what, err
		}
		what.images = append(what.images, image)
	}
	return what, nil
}

func (s *Store) allLayers(ctx context.Context) ([]string, error) {
	all, err := s.layers.Layers(ctx)
	var ids []string
	for _, layer := range all {
		ids = append(ids, layer.ID)
	}
	return ids, err
}

// PlanLayerRemoval returns what RemoveLayers would do. Removal.Kept has the layers that it
// would refuse to remove.
func (s *Store) PlanLayerRemoval(ctx context.Context, ids []string) (Removal, error) {
	plan, err := s.layers.PlanRemoval(ctx, ids, layers.RemovalOptions{Needed: Needed, Measure: true})
	return planned(plan), err
}

// RemoveLayers removes layers that are needed only by each other, all or none.
func (s *Store) RemoveLayers(ctx context.Context, ids []string) (Removal, error) {
	removed, err := s.layers.RemoveLayers(ctx, ids, layers.RemovalOptions{Needed: Needed})
	if err != nil && len(removed.Layers) == 0 {
		return Removal{}, err
	}
	return Removal{Layers: removed.Layers, Waiting: removed.Waiting}, errors.Join(err, s.dropSplits(ctx, removed.Layers))
}

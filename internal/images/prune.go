package images

import (
	"context"
	"errors"

	"thinctl/snapshots"
	"thinctl/thinpool"
)

// PruneOptions say what goes besides layers that nothing needs.
type PruneOptions struct {
	// Images: also those without a name that no container was made of.
	Images bool
}

// PlanPrune says what Prune would do, and how much space that would give.
func (s *Store) PlanPrune(ctx context.Context, o PruneOptions) (Removal, error) {
	return s.planPrune(ctx, o, true)
}

func (s *Store) planPrune(ctx context.Context, o PruneOptions, measure bool) (Removal, error) {
	var what intent
	var layers []string
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		what, err = loose(tx, o)
		return err
	})
	if err == nil {
		layers, err = s.allLayers(ctx)
	}
	if err != nil {
		return Removal{}, err
	}
	plan, err := s.layers.PlanRemoval(ctx, layers, snapshots.RemovalOptions{Needed: neededBut(what.keys()), Unused: true, Measure: measure})
	removal := planned(plan)
	removal.Images, removal.Kept = what.images, nil
	return removal, err
}

// Prune removes layers that no image and no container needs, which loads that
// failed leave, and images as the options say: all in one transaction.
func (s *Store) Prune(ctx context.Context, o PruneOptions) (Removal, error) {
	plan, err := s.planPrune(ctx, o, false)
	if err != nil || len(plan.Images)+len(plan.Layers) == 0 {
		return plan, err
	}
	layers, err := s.allLayers(ctx)
	if err != nil {
		return Removal{}, err
	}
	what := intent{images: plan.Images}
	removed, err := s.layers.RemoveLayers(ctx, layers, snapshots.RemovalOptions{
		Unused: true,
		Needed: func(tx *thinpool.Tx) (map[string]string, error) { return neededBut(what.keys())(tx) },
		With: func(tx *thinpool.Tx) (err error) {
			if what, err = loose(tx, o); err != nil {
				return err
			}
			return what.carryOut(tx)
		},
	})
	if err != nil && len(removed.Layers) == 0 {
		return Removal{}, err
	}
	return Removal{Images: what.images, Layers: removed.Layers, Waiting: removed.Waiting}, errors.Join(err, s.dropSplits(ctx, removed.Layers))
}

// loose are the images that nobody can name.
func loose(tx *thinpool.Tx, o PruneOptions) (intent, error) {
	var what intent
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
	layers, err := s.layers.Layers(ctx)
	var ids []string
	for _, layer := range layers {
		ids = append(ids, layer.ID)
	}
	return ids, err
}

// PlanLayerRemoval says what RemoveLayers would do. Removal.Kept has those that it
// would refuse to remove.
func (s *Store) PlanLayerRemoval(ctx context.Context, ids []string) (Removal, error) {
	plan, err := s.layers.PlanRemoval(ctx, ids, snapshots.RemovalOptions{Needed: Needed, Measure: true})
	return planned(plan), err
}

// RemoveLayers removes layers that nothing but each other needs, all or none.
func (s *Store) RemoveLayers(ctx context.Context, ids []string) (Removal, error) {
	removed, err := s.layers.RemoveLayers(ctx, ids, snapshots.RemovalOptions{Needed: Needed})
	if err != nil && len(removed.Layers) == 0 {
		return Removal{}, err
	}
	return Removal{Layers: removed.Layers, Waiting: removed.Waiting}, errors.Join(err, s.dropSplits(ctx, removed.Layers))
}

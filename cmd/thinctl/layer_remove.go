package main

import (
	"errors"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/snapshots"
)

func (a *app) layerRemove() *cli.Command {
	return a.leaf(leaf{
		name: "remove", args: "POOL [LAYER...]", usage: "remove layers that nobody needs",
		about: "A load that failed leaves layers that no image has; the next load of the image takes them, or this removes them. All that are named go, or none.",
		flags: []cli.Flag{&cli.BoolFlag{Name: "unused", Usage: "remove all that no image and no container needs"}, yesFlag(), dryRunFlag()},
		run:   (*call).removeLayers, complete: (*call).layerWords,
	})
}

func (c *call) removeLayers() error {
	unused, words := c.flags.Bool("unused"), c.args[1:]
	if unused == (len(words) > 0) {
		return c.misuse("give layers or --unused, one of the two")
	}
	return c.onImages(func(store *images.Store) error {
		if unused {
			return c.prune(store, images.PruneOptions{})
		}
		var ids []string
		var faults []error
		for _, word := range words {
			layer, err := store.Layers().Layer(c.ctx, word)
			ids, faults = append(ids, layer.ID), append(faults, err)
		}
		if err := errors.Join(faults...); err != nil {
			return err
		}
		return c.removal(store,
			func() (images.Removal, error) { return c.planLayers(store, ids) },
			func() (images.Removal, error) { return store.RemoveLayers(c.ctx, ids) })
	})
}

// planLayers refuses what cannot be done before anybody is asked whether to do it.
func (c *call) planLayers(store *images.Store, ids []string) (images.Removal, error) {
	plan, err := store.PlanLayerRemoval(c.ctx, ids)
	if err != nil || c.flags.Bool("dry-run") {
		return plan, err
	}
	var faults []error
	for _, id := range sortedKeys(plan.Kept) {
		faults = append(faults, failed(snapshots.ErrInUse, "remove layer %s: in use: %s needs it; remove that first", shortID(id), plan.Kept[id]))
	}
	return plan, errors.Join(faults...)
}

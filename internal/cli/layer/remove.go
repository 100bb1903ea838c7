package layer

import (
	"errors"

	"github.com/urfave/cli/v2"

	"thinctl/fault"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
)

func removeCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "remove", Args: "POOL [LAYER...]", Usage: "remove unused layers",
		About: "A failed load leaves layers without an image; the next load of the image uses them, or this command " +
			"removes them. Removes all the named layers or none.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "unused", Usage: "remove all layers that no image and no container uses"},
			command.YesFlag(), command.DryRunFlag()},
		Run: removeLayers, Complete: (*command.Call).LayerWords,
	})
}

func removeLayers(c *command.Call) error {
	unused, words := c.Flags.Bool("unused"), c.Args[1:]
	if unused == (len(words) > 0) {
		return c.Misuse("name layers or use --unused, not both")
	}
	return c.OnImages(func(store *images.Store) error {
		if unused {
			return content.Prune(c, store, images.PruneOptions{})
		}
		var ids []string
		var faults []error
		for _, word := range words {
			layer, err := store.Layers().Layer(c.Ctx, word)
			ids, faults = append(ids, layer.ID), append(faults, err)
		}
		if err := errors.Join(faults...); err != nil {
			return err
		}
		return content.Remove(c, store,
			func() (images.Removal, error) { return planLayers(c, store, ids) },
			func() (images.Removal, error) { return store.RemoveLayers(c.Ctx, ids) })
	})
}

// planLayers refuses layers that are in use before the user is asked for confirmation.
func planLayers(c *command.Call, store *images.Store, ids []string) (images.Removal, error) {
	plan, err := store.PlanLayerRemoval(c.Ctx, ids)
	if err != nil || c.Flags.Bool("dry-run") {
		return plan, err
	}
	var faults []error
	for _, id := range output.SortedKeys(plan.Kept) {
		faults = append(faults, exit.Errorf(fault.Busy, "remove layer %s: in use by %s; remove that first",
			output.ShortID(id), plan.Kept[id]))
	}
	return plan, errors.Join(faults...)
}

package layer

import (
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/changes"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/images"
)

func diffCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "diff", Args: "POOL LAYER [UPPER]", Usage: "list the files that differ between two layers",
		About: "A means added, C changed, D deleted from LAYER to UPPER; the order is that of docker diff. With one " +
			"layer: the changes from its parent. " +
			"`volume delta` compares blocks instead.",
		Flags: content.DiffFlags(),
		Run:   diffLayers, Complete: (*command.Call).LayerPair, Long: true,
	})
}

func diffLayers(c *command.Call) error {
	return c.OnImages(func(store *images.Store) error {
		lower, upper := c.Arg(1), c.Arg(2)
		if upper == "" {
			lower, upper = "", lower
		}
		view, err := pair(c, store, lower, upper)
		if err != nil {
			return err
		}
		return content.Diff(c, store, view,
			func(visit func(changes.Change) error) error {
				return store.Layers().LayerChanges(c.Ctx, lower, upper, visit)
			},
			func(w io.Writer) error { return store.WriteLayerChanges(c.Ctx, lower, upper, w) })
	})
}

// pair finds the two layers. The default for lower is the parent of upper.
func pair(c *command.Call, store *images.Store, lower, upper string) (content.ChangesView, error) {
	up, err := store.Layers().Layer(c.Ctx, upper)
	if err != nil {
		return content.ChangesView{}, err
	}
	view := content.ChangesView{Lower: up.Parent, Upper: up.ID}
	if lower != "" {
		low, err := store.Layers().Layer(c.Ctx, lower)
		view.Lower = low.ID
		return view, err
	}
	return view, nil
}

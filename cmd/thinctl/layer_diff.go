package main

import (
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/changes"
	"thinctl/internal/images"
)

func (a *app) layerDiff() *cli.Command {
	return a.leaf(leaf{
		name: "diff", args: "POOL LAYER [UPPER]", usage: "say which files differ between two layers",
		about: "A was added, C changed, D deleted on the way from LAYER to UPPER, in the order of docker diff. With one layer: what that one changed. " +
			"`volume delta` tells the same in blocks.",
		flags: diffFlags(),
		run:   (*call).diffLayers, complete: (*call).layerPair, long: true,
	})
}

func (c *call) diffLayers() error {
	return c.onImages(func(store *images.Store) error {
		lower, upper := c.arg(1), c.arg(2)
		if upper == "" {
			lower, upper = "", lower
		}
		view, err := pair(c, store, lower, upper)
		if err != nil {
			return err
		}
		return c.diff(store, view,
			func(visit func(changes.Change) error) error {
				return store.Layers().LayerChanges(c.ctx, lower, upper, visit)
			},
			func(w io.Writer) error { return store.WriteLayerChanges(c.ctx, lower, upper, w) })
	})
}

// pair names the two layers; where no lower is given it is the upper's parent.
func pair(c *call, store *images.Store, lower, upper string) (changesView, error) {
	up, err := store.Layers().Layer(c.ctx, upper)
	if err != nil {
		return changesView{}, err
	}
	view := changesView{Lower: up.Parent, Upper: up.ID}
	if lower != "" {
		low, err := store.Layers().Layer(c.ctx, lower)
		view.Lower = low.ID
		return view, err
	}
	return view, nil
}

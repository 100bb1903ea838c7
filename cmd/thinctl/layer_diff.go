package main

import (
	"github.com/urfave/cli/v2"

	"thinctl/images"
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
		first, err := store.Layers().Layer(c.ctx, c.arg(1))
		if err != nil {
			return err
		}
		if c.arg(2) == "" {
			return c.diff(store, changesView{Lower: first.Parent, Upper: first.ID}, first.Below(), first.Tree())
		}
		second, err := store.Layers().Layer(c.ctx, c.arg(2))
		if err != nil {
			return err
		}
		return c.diff(store, changesView{Lower: first.ID, Upper: second.ID}, first.Tree(), second.Tree())
	})
}

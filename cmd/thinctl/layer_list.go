package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/snapshots"
)

func (a *app) layerList() *cli.Command {
	return a.leaf(leaf{
		name: "list", args: "POOL", usage: "list the layers, and the init layers of containers",
		about: "SIZE is that of the files that a layer brought, as Docker counts it; BLOCKS is what of the pool differs from its parent; EXCLUSIVE is what nobody else has. " +
			"IMAGES is how many have the layer: one that none has may be removed.",
		flags: []cli.Flag{quietFlag("write only ids"), noTruncFlag()},
		run:   (*call).listLayers, complete: (*call).poolNames,
	})
}

func (c *call) listLayers() error {
	quiet := c.flags.Bool("quiet")
	return c.onImages(func(store *images.Store) error {
		views, err := c.layers(store, !quiet)
		if err != nil {
			return err
		}
		return c.show(struct {
			poolHead
			Layers []layerView `json:"layers"`
		}{headOf(store), views}, func(w io.Writer) {
			if quiet {
				for _, v := range views {
					fmt.Fprintln(w, c.layerName(v.ID))
				}
				return
			}
			row(w, "LAYER", "PARENT", "CREATED", "SIZE", "BLOCKS", "EXCLUSIVE", "IMAGES")
			for _, v := range views {
				row(w, c.layerName(v.ID), c.layerName(v.Parent), c.ago(v.Created), v.size(), humanSizeOf(v.Own), humanSizeOf(v.Exclusive), v.images())
			}
		})
	})
}

// layers are all, with the inits; each after what it is over.
func (c *call) layers(store *images.Store, measure bool) ([]layerView, error) {
	nodes, err := store.Tree(c.ctx)
	if err != nil {
		return nil, err
	}
	inits, err := store.Layers().Inits(c.ctx)
	if err != nil {
		return nil, err
	}
	var sizes snapshots.Sizes
	if measure && len(nodes)+len(inits) > 0 {
		if sizes, err = c.measured(store, snapshots.SizesOptions{}); err != nil {
			return nil, err
		}
	}
	all, err := store.Images(c.ctx)
	if err != nil {
		return nil, err
	}
	users := map[string][]string{}
	for _, image := range all {
		for _, id := range image.Layers {
			users[id] = append(users[id], image.Key)
		}
	}
	over := map[string]snapshots.Init{}
	views := []layerView{}
	for _, init := range inits {
		over[init.Layer] = init
		if init.Layer == "" {
			size, known := sizes.Inits[init.Key]
			views = append(views, newInitView(init, size, known))
		}
	}
	var add func(nodes []*images.Node)
	add = func(nodes []*images.Node) {
		for _, node := range nodes {
			size, known := sizes.Layers[node.Layer.ID]
			v := newLayerView(node.Layer, size, known)
			v.Images = append(v.Images, users[node.Layer.ID]...)
			views = append(views, v)
			if init, has := over[node.Layer.ID]; has {
				size, known := sizes.Inits[init.Key]
				views = append(views, newInitView(init, size, known))
			}
			add(node.Children)
		}
	}
	add(nodes)
	return views, nil
}

// size is what the layer's files hold. An init has none; what a committed layer
// changed may not have been counted yet.
func (v layerView) size() string {
	if v.Size == nil {
		return "-"
	}
	return humanSize(*v.Size)
}

func (v layerView) images() string {
	if v.Init {
		return "-"
	}
	return fmt.Sprint(len(v.Images))
}

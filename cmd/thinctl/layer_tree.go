package main

import (
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
)

func (a *app) layerTree() *cli.Command {
	return a.leaf(leaf{
		name: "tree", args: "POOL", usage: "show layers, inits and containers, each below what it is over",
		flags: []cli.Flag{noTruncFlag()},
		run:   (*call).layerTree, complete: (*call).poolNames,
	})
}

// branchView is a layer, an init or a container, with all that is over it.
type branchView struct {
	Layer     *layerView       `json:"layer,omitempty"`
	Container *listedContainer `json:"container,omitempty"`
	Children  []branchView     `json:"children"`
}

func (c *call) layerTree() error {
	return c.onImages(func(store *images.Store) error {
		layers, err := c.layers(store, true)
		if err != nil {
			return err
		}
		containers, err := c.containers(store, true)
		if err != nil {
			return err
		}
		views := branches(layers, containers)
		return c.show(struct {
			poolHead
			Tree []branchView `json:"tree"`
		}{headOf(store), views}, func(w io.Writer) {
			drawTree(w, views, c.branchText, func(v branchView) []branchView { return v.Children })
		})
	})
}

// branches puts everything below what it is over. What that is may have gone
// between the two listings; then it is at the top.
func branches(layers []layerView, containers []listedContainer) []branchView {
	there := map[string]bool{"": true}
	for _, layer := range layers {
		there[layer.ID] = true
	}
	below := func(id string) string {
		if there[id] {
			return id
		}
		return ""
	}
	over := map[string][]branchView{}
	for _, layer := range layers {
		over[below(layer.Parent)] = append(over[below(layer.Parent)], branchView{Layer: &layer})
	}
	for _, container := range containers {
		over[below(container.Init)] = append(over[below(container.Init)], branchView{Container: &container})
	}
	var grow func(id string) []branchView
	grow = func(id string) []branchView {
		views := []branchView{}
		for _, v := range over[id] {
			v.Children = []branchView{}
			if v.Layer != nil {
				v.Children = grow(v.Layer.ID)
			}
			views = append(views, v)
		}
		return views
	}
	return grow("")
}

func (c *call) branchText(v branchView) string {
	if v.Container != nil {
		return "container " + v.Container.Name + " Blocks: " + humanSizeOf(v.Container.Own) + " Exclusive: " + humanSizeOf(v.Container.Exclusive)
	}
	text := c.layerName(v.Layer.ID)
	if !v.Layer.Init {
		text += " Size: " + v.Layer.size()
	}
	return text + " Blocks: " + humanSizeOf(v.Layer.Own) + " Exclusive: " + humanSizeOf(v.Layer.Exclusive)
}

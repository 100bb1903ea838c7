package layer

import (
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
)

func treeCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "tree", Args: "POOL", Usage: "show the tree of layers, init layers and containers",
		Flags: []cli.Flag{command.NoTruncFlag()},
		Run:   showTree, Complete: (*command.Call).PoolNames,
	})
}

// branchView is a layer, an init layer or a container, with its children.
type branchView struct {
	Layer     *layerView               `json:"layer,omitempty"`
	Container *content.ListedContainer `json:"container,omitempty"`
	Children  []branchView             `json:"children"`
}

func showTree(c *command.Call) error {
	return c.OnImages(func(store *images.Store) error {
		layers, err := allLayers(c, store, true)
		if err != nil {
			return err
		}
		containers, err := content.Containers(c, store, true)
		if err != nil {
			return err
		}
		views := branches(layers, containers)
		return c.Show(struct {
			output.PoolHead
			Tree []branchView `json:"tree"`
		}{command.HeadOf(store), views}, func(w io.Writer) {
			output.DrawTree(w, views, func(v branchView) string { return branchText(c, v) },
				func(v branchView) []branchView { return v.Children })
		})
	})
}

// branches places each object below its parent. An object is at the top if its parent was removed
// between the two listings.
func branches(layers []layerView, containers []content.ListedContainer) []branchView {
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

func branchText(c *command.Call, v branchView) string {
	if v.Container != nil {
		return "container " + v.Container.Name + " Blocks: " + output.HumanSizeOf(v.Container.Own) + " Exclusive: " +
			output.HumanSizeOf(v.Container.Exclusive)
	}
	text := content.LayerName(c, v.Layer.ID)
	if !v.Layer.Init {
		text += " Size: " + v.Layer.size()
	}
	return text + " Blocks: " + output.HumanSizeOf(v.Layer.Own) + " Exclusive: " + output.HumanSizeOf(v.Layer.Exclusive)
}

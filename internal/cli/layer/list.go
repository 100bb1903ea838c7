package layer

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
	"thinctl/internal/layers"
)

func listCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "list", Args: "POOL", Usage: "list the layers, and the init layers of containers",
		About: "SIZE is the size of a layer's files, as Docker counts it; BLOCKS is the space that differs from its " +
			"parent; EXCLUSIVE is the space that only this layer has. " +
			"IMAGES is the number of images that use the layer; a layer without images may be removed.",
		Flags: []cli.Flag{command.QuietFlag("print only ids"), command.NoTruncFlag()},
		Run:   listLayers, Complete: (*command.Call).PoolNames,
	})
}

func listLayers(c *command.Call) error {
	quiet := c.Flags.Bool("quiet")
	return c.OnImages(func(store *images.Store) error {
		views, err := allLayers(c, store, !quiet)
		if err != nil {
			return err
		}
		return c.Show(struct {
			output.PoolHead
			Layers []layerView `json:"layers"`
		}{command.HeadOf(store), views}, func(w io.Writer) {
			if quiet {
				for _, v := range views {
					fmt.Fprintln(w, content.LayerName(c, v.ID))
				}
				return
			}
			output.Row(w, "LAYER", "PARENT", "CREATED", "SIZE", "BLOCKS", "EXCLUSIVE", "IMAGES")
			for _, v := range views {
				output.Row(w, content.LayerName(c, v.ID), content.LayerName(c, v.Parent), c.Ago(v.Created), v.size(),
					output.HumanSizeOf(v.Own), output.HumanSizeOf(v.Exclusive), v.images())
			}
		})
	})
}

// allLayers returns all layers and init layers, each after its parent.
func allLayers(c *command.Call, store *images.Store, measure bool) ([]layerView, error) {
	nodes, err := store.Tree(c.Ctx)
	if err != nil {
		return nil, err
	}
	inits, err := store.Layers().Inits(c.Ctx)
	if err != nil {
		return nil, err
	}
	var sizes layers.Sizes
	if measure && len(nodes)+len(inits) > 0 {
		if sizes, err = c.Sizes(store, layers.SizesOptions{}); err != nil {
			return nil, err
		}
	}
	all, err := store.Images(c.Ctx)
	if err != nil {
		return nil, err
	}
	users := map[string][]string{}
	for _, image := range all {
		for _, id := range image.Layers {
			users[id] = append(users[id], image.Key)
		}
	}
	over := map[string]layers.Init{}
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

// size returns the size of the files in the layer. An init layer has none, and that of a committed
// layer may not be counted.
func (v layerView) size() string {
	if v.Size == nil {
		return "-"
	}
	return output.HumanSize(*v.Size)
}

func (v layerView) images() string {
	if v.Init {
		return "-"
	}
	return fmt.Sprint(len(v.Images))
}

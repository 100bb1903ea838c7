package image

import (
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
	"thinctl/units"
)

func treeCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "tree", Args: "POOL", Usage: "show the tree of layers and the images that end in it",
		About: "The virtual size is the size of a layer and all its parents. The last layer of an image has the names " +
			"of the image and the space that is freed when it is removed.",
		Flags: []cli.Flag{command.NoTruncFlag()},
		Run:   showTree, Complete: (*command.Call).PoolNames,
	})
}

type imageNodeView struct {
	Layer    string          `json:"layer"`
	Size     units.Bytes     `json:"size_bytes"`
	Virtual  units.Bytes     `json:"virtual_bytes"`
	Images   []measuredImage `json:"images"`
	Children []imageNodeView `json:"children"`
}

func showTree(c *command.Call) error {
	return c.OnImages(func(store *images.Store) error {
		measured, err := summaries(c, store, true)
		if err != nil {
			return err
		}
		byKey := map[string]measuredImage{}
		for _, v := range measured {
			byKey[v.Key] = v
		}
		nodes, err := store.Tree(c.Ctx)
		if err != nil {
			return err
		}
		views := imageNodes(nodes, byKey)
		return c.Show(struct {
			output.PoolHead
			Tree []imageNodeView `json:"tree"`
		}{command.HeadOf(store), views}, func(w io.Writer) {
			output.DrawTree(w, views, func(v imageNodeView) string { return c.Digits(v.Layer) + v.text() },
				func(v imageNodeView) []imageNodeView { return v.Children })
		})
	})
}

func imageNodes(nodes []*images.Node, byKey map[string]measuredImage) []imageNodeView {
	views := []imageNodeView{}
	for _, node := range nodes {
		v := imageNodeView{Layer: node.Layer.ID, Size: node.Layer.Size, Virtual: node.Virtual, Images: []measuredImage{},
			Children: imageNodes(node.Children, byKey)}
		for _, image := range node.Images {
			one, found := byKey[image.Key]
			if !found { // it was added after the measurement
				one = measuredImage{ImageView: content.NewImageView(image), Size: node.Virtual}
			}
			v.Images = append(v.Images, one)
		}
		views = append(views, v)
	}
	return views
}

// text returns the line that `docker images --tree` printed for a layer, and the exclusive space
// of its images.
func (v imageNodeView) text() string {
	text := " Virtual Size: " + output.TreeSize(v.Virtual)
	var names []string
	for _, image := range v.Images {
		names = append(names, image.Names...)
		if len(image.Names) == 0 {
			names = append(names, none+"@"+image.ShortID())
		}
	}
	if len(names) > 0 {
		text += " Tags: " + output.Sentence(names...)
	}
	for _, image := range v.Images {
		if image.Exclusive != nil {
			text += " Exclusive: " + output.TreeSize(*image.Exclusive)
		}
	}
	return text
}

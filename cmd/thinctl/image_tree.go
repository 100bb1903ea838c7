package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/units"
)

func (a *app) imageTree() *cli.Command {
	return a.leaf(leaf{
		name: "tree", args: "POOL", usage: "show which layers the images are made of",
		about: "The virtual size is that of a layer with all below it. Where an image ends its names stand, and what comes back when it is removed.",
		flags: []cli.Flag{noTruncFlag()},
		run:   (*call).imageTree, complete: (*call).poolNames,
	})
}

type imageNodeView struct {
	Layer    string          `json:"layer"`
	Size     units.Bytes     `json:"size_bytes"`
	Virtual  units.Bytes     `json:"virtual_bytes"`
	Images   []measuredImage `json:"images"`
	Children []imageNodeView `json:"children"`
}

func (c *call) imageTree() error {
	return c.onImages(func(store *images.Store) error {
		measured, err := c.summaries(store, true)
		if err != nil {
			return err
		}
		byKey := map[string]measuredImage{}
		for _, v := range measured {
			byKey[v.Key] = v
		}
		nodes, err := store.Tree(c.ctx)
		if err != nil {
			return err
		}
		views := imageNodes(nodes, byKey)
		return c.show(struct {
			poolHead
			Tree []imageNodeView `json:"tree"`
		}{headOf(store), views}, func(w io.Writer) {
			drawTree(w, views, func(v imageNodeView) string { return c.digits(v.Layer) + v.text() },
				func(v imageNodeView) []imageNodeView { return v.Children })
		})
	})
}

func imageNodes(nodes []*images.Node, byKey map[string]measuredImage) []imageNodeView {
	views := []imageNodeView{}
	for _, node := range nodes {
		v := imageNodeView{Layer: node.Layer.ID, Size: node.Layer.Size, Virtual: node.Virtual, Images: []measuredImage{}, Children: imageNodes(node.Children, byKey)}
		for _, image := range node.Images {
			one, found := byKey[image.Key]
			if !found { // it came after the others were measured
				one = measuredImage{imageView: newImageView(image), Size: node.Virtual}
			}
			v.Images = append(v.Images, one)
		}
		views = append(views, v)
	}
	return views
}

// text is what `docker images --tree` said of a layer, and what its images have
// for themselves.
func (v imageNodeView) text() string {
	text := " Virtual Size: " + treeSize(v.Virtual)
	var names []string
	for _, image := range v.Images {
		names = append(names, image.Names...)
		if len(image.Names) == 0 {
			names = append(names, none+"@"+image.shortID())
		}
	}
	if len(names) > 0 {
		text += " Tags: " + sentence(names...)
	}
	for _, image := range v.Images {
		if image.Exclusive != nil {
			text += " Exclusive: " + treeSize(*image.Exclusive)
		}
	}
	return text
}

// drawTree draws as `docker images --tree` did.
func drawTree[N any](w io.Writer, nodes []N, text func(N) string, below func(N) []N) {
	var draw func(nodes []N, indent string)
	draw = func(nodes []N, indent string) {
		for i, node := range nodes {
			branch, bar := "├─", "│ "
			if i == len(nodes)-1 {
				branch, bar = "└─", "  "
			}
			fmt.Fprintln(w, indent+branch+strings.TrimRight(text(node), " "))
			draw(below(node), indent+bar)
		}
	}
	draw(nodes, "")
}

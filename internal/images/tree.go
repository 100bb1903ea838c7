package images

import (
	"context"
	"slices"
	"strings"

	"thinctl/internal/layers"
	"thinctl/units"
)

// Node is a layer with its children.
type Node struct {
	Layer layers.Layer
	// Virtual is the size of the layer and of all layers below it.
	Virtual units.Bytes
	// Images are the images whose top layer this is.
	Images   []Image
	Children []*Node
}

// Tree returns the base layers with all layers above them, the oldest first.
func (s *Store) Tree(ctx context.Context) ([]*Node, error) {
	layers, err := s.sized(ctx)
	if err != nil {
		return nil, err
	}
	images, err := s.Images(ctx)
	if err != nil {
		return nil, err
	}
	nodes := map[string]*Node{}
	for _, layer := range layers {
		nodes[layer.ID] = &Node{Layer: layer}
	}
	for _, image := range images {
		if node := nodes[image.Top()]; node != nil {
			node.Images = append(node.Images, image)
		}
	}
	var bases []*Node
	for _, layer := range layers {
		node := nodes[layer.ID]
		if parent := nodes[layer.Parent]; parent != nil {
			parent.Children = append(parent.Children, node)
		} else {
			bases = append(bases, node)
		}
	}
	order(bases, 0)
	return bases, nil
}

func order(nodes []*Node, below units.Bytes) {
	slices.SortFunc(nodes, func(a, b *Node) int {
		if c := a.Layer.Created.Compare(b.Layer.Created); c != 0 {
			return c
		}
		return strings.Compare(a.Layer.ID, b.Layer.ID)
	})
	for _, node := range nodes {
		node.Virtual = below + node.Layer.Size
		order(node.Children, node.Virtual)
	}
}

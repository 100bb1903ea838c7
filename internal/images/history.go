package images

import (
	"context"
	"errors"
	"time"

	"thinctl/fault"
	"thinctl/internal/layers"
	"thinctl/units"
)

// Step is one line of an image's history.
type Step struct {
	// Layer is the id of the layer that the step created, "" if it created none.
	Layer   string
	Image   string // the id of the image that ends with this layer, if it is in the pool
	Created time.Time
	By      string
	Author  string
	Comment string
	Size    units.Bytes
}

// History returns the steps that created the image, the newest first.
func (s *Store) History(ctx context.Context, text string) ([]Step, error) {
	image, err := s.Image(ctx, text)
	if err != nil {
		return nil, err
	}
	config, err := image.Config()
	if err != nil {
		return nil, err
	}
	chain, err := s.chain(ctx, image)
	if err != nil {
		return nil, err
	}
	ends, err := s.ends(ctx)
	if err != nil {
		return nil, err
	}
	var steps []Step
	add := func(step Step, layer *layers.Layer) {
		if layer != nil {
			step.Layer, step.Size = layer.ID, layer.Size
			step.Image = ends[layer.ID]
		}
		steps = append([]Step{step}, steps...)
	}
	at := 0
	for _, h := range config.History {
		var layer *layers.Layer
		if !h.EmptyLayer && at < len(chain) {
			layer = &chain[at]
			at++
		}
		add(Step{Created: h.Created.Time, By: h.CreatedBy, Author: h.Author, Comment: h.Comment}, layer)
	}
	for ; at < len(chain); at++ { // the history has fewer steps than there are chain
		add(Step{Created: chain[at].Created}, &chain[at])
	}
	if len(steps) > 0 {
		steps[0].Image = image.Shown()
	}
	return steps, nil
}

// chain returns the image's layers, base first.
func (s *Store) chain(ctx context.Context, image Image) ([]layers.Layer, error) {
	var all []layers.Layer
	for _, id := range image.Layers {
		layer, err := s.layers.Layer(ctx, id)
		if errors.Is(err, fault.NotFound) {
			err = gone(image)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, layer)
	}
	return all, s.estimate(ctx, all)
}

// ends maps layers to the ids of the images whose top layers they are.
func (s *Store) ends(ctx context.Context) (map[string]string, error) {
	images, err := s.Images(ctx)
	ends := map[string]string{}
	for _, image := range images {
		if top := image.Top(); top != "" {
			ends[top] = image.Shown()
		}
	}
	return ends, err
}

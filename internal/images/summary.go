package images

import (
	"context"

	"thinctl/internal/layers"
	"thinctl/thinpool"
	"thinctl/units"
)

// Summary is an image with its sizes.
type Summary struct {
	Image
	// Size is the sum of the sizes of its layers, shared or not.
	Size units.Bytes
	// Exclusive is the space that removing the image frees.
	Exclusive units.Bytes
	// Containers is the number of containers that were made of it.
	Containers int
}

// Summaries returns all images with their sizes, the newest first. If exclusive is set, it
// reads the pool's metadata once for the exclusive sizes.
func (s *Store) Summaries(ctx context.Context, exclusive bool) ([]Summary, error) {
	images, err := s.Images(ctx)
	if err != nil {
		return nil, err
	}
	layers, err := s.sized(ctx)
	if err != nil {
		return nil, err
	}
	containers, err := s.layers.Containers(ctx)
	if err != nil {
		return nil, err
	}
	sizes := map[string]units.Bytes{}
	for _, layer := range layers {
		sizes[layer.ID] = layer.Size
	}
	made := map[string]int{}
	for _, c := range containers {
		made[c.Image]++
	}
	users := countUsers(images, layers, containers)
	summaries := make([]Summary, len(images))
	sets := map[string][]string{}
	for i, image := range images {
		summaries[i] = Summary{Image: image, Containers: made[image.Key]}
		for _, id := range image.Layers {
			summaries[i].Size += sizes[id]
		}
		sets[image.Key] = users.exclusive(image)
	}
	if !exclusive {
		return summaries, nil
	}
	usage, err := s.pool.Usage(ctx, thinpool.UsageOptions{Sets: sets})
	for i := range summaries {
		summaries[i].Exclusive = usage.Sets[summaries[i].Key]
	}
	return summaries, err
}

// users holds, for each layer, the number of images that have it, and the number of
// containers and layers directly above it.
type users struct{ images, above map[string]int }

func countUsers(images []Image, layers []layers.Layer, containers []layers.Container) users {
	u := users{images: map[string]int{}, above: map[string]int{}}
	for _, image := range images {
		for _, id := range image.Layers {
			u.images[id]++
		}
	}
	for _, c := range containers {
		u.above[c.Layer]++
	}
	for _, layer := range layers {
		u.above[layer.Parent]++
	}
	return u
}

// exclusive returns the volumes that are removed with an image: those of its layers from
// the top down to the first that is needed otherwise.
func (u users) exclusive(image Image) []string {
	var volumes []string
	for i := len(image.Layers) - 1; i >= 0; i-- {
		id, own := image.Layers[i], 0
		if i < len(image.Layers)-1 {
			own = 1 // the layer above it is removed, too
		}
		if u.images[id] > 1 || u.above[id] > own {
			break
		}
		volumes = append(volumes, layers.LayerVolumes(id)...)
	}
	return volumes
}

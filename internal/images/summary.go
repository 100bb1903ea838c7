package images

import (
	"context"

	"thinctl/snapshots"
	"thinctl/thinpool"
	"thinctl/units"
)

// Summary is an image with what it takes.
type Summary struct {
	Image
	// Size is the sum of its layers' sizes, shared or not.
	Size units.Bytes
	// Exclusive is what comes back to the pool when the image is removed.
	Exclusive units.Bytes
	// Containers is how many were made of it.
	Containers int
}

// Summaries returns all images with their sizes, the newest first. With
// exclusive, the pool's metadata is read once for what each takes alone.
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
		sets[image.Key] = users.alone(image)
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

// users counts who needs a layer: images that have it, containers and layers
// right above it.
type users struct{ images, above map[string]int }

func countUsers(images []Image, layers []snapshots.Layer, containers []snapshots.Container) users {
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

// alone lists the volumes that go with an image: of its layers from the top
// down, as far as nobody else needs them.
func (u users) alone(image Image) []string {
	var volumes []string
	for i := len(image.Layers) - 1; i >= 0; i-- {
		id, own := image.Layers[i], 0
		if i < len(image.Layers)-1 {
			own = 1 // the layer above it goes too
		}
		if u.images[id] > 1 || u.above[id] > own {
			break
		}
		volumes = append(volumes, snapshots.LayerVolumes(id)...)
	}
	return volumes
}

package programs

import (
	"context"
	"fmt"
)

// PoolSpace is the pool's space in the output of `thinctl pool status --json`.
type PoolSpace struct {
	Data, Metadata Space
}

// Space is the data space or the metadata space.
type Space struct {
	Total int64 `json:"total_bytes"`
	Used  int64 `json:"used_bytes"`
	File  struct {
		Apparent  int64 `json:"apparent_bytes"`
		Allocated int64 `json:"allocated_bytes"`
	} `json:"file"`
}

// Space returns the pool's space.
func (p Thinctl) Space(ctx context.Context) (PoolSpace, error) {
	var found struct {
		Pool PoolSpace `json:"pool"`
	}
	err := p.JSON(ctx, &found, "pool", "status", p.Pool)
	return found.Pool, err
}

// Layer is one of `thinctl layer list --json`.
type Layer struct {
	ID     string `json:"id"`
	Parent string `json:"parent"`
	Init   bool   `json:"init"`
	Size   int64  `json:"size_bytes"`
}

// Layers returns all layers of the pool, by id, the inits of containers among them.
func (p Thinctl) Layers(ctx context.Context) (map[string]Layer, error) {
	var found struct {
		Layers []Layer `json:"layers"`
	}
	err := p.JSON(ctx, &found, "layer", "list", p.Pool)
	layers := map[string]Layer{}
	for _, l := range found.Layers {
		layers[l.ID] = l
	}
	return layers, err
}

// ContainerSize is a container's size in the output of `thinctl container list --json`.
type ContainerSize struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Size    int64  `json:"size_bytes"`
	Virtual int64  `json:"virtual_bytes"`
}

// Container returns a container of the pool, by name.
func (p Thinctl) Container(ctx context.Context, name string) (ContainerSize, error) {
	var found struct {
		Containers []ContainerSize `json:"containers"`
	}
	if err := p.JSON(ctx, &found, "container", "list", p.Pool); err != nil {
		return ContainerSize{}, err
	}
	for _, c := range found.Containers {
		if c.Name == name {
			return c, nil
		}
	}
	return ContainerSize{}, fmt.Errorf("container list of %s does not have %s", p.Pool, name)
}

// Freed returns the space that removing an object would free, as --dry-run prints it.
func (p Thinctl) Freed(ctx context.Context, noun, name string) (int64, error) {
	var found struct {
		Freed int64 `json:"freed_bytes"`
	}
	err := p.JSON(ctx, &found, noun, "remove", p.Pool, name, "--dry-run")
	return found.Freed, err
}

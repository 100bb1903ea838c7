package content

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
	"thinctl/internal/layers"
	"thinctl/units"
)

// ContainerView is the JSON of a container.
type ContainerView struct {
	ID         string      `json:"id"`
	Name       string      `json:"name"`
	Image      string      `json:"image,omitempty"` // its key
	ImageName  string      `json:"image_name,omitempty"`
	Layer      string      `json:"layer,omitempty"`
	Init       string      `json:"init"`
	FileSystem string      `json:"file_system"`
	Volume     string      `json:"volume"`
	SizeBytes  units.Bytes `json:"volume_bytes"`
	MountLabel string      `json:"mount_label,omitempty"`
	Created    time.Time   `json:"created"`
}

// NewContainerView returns the JSON of a container.
func NewContainerView(c layers.Container) ContainerView {
	return ContainerView{ID: c.ID, Name: c.Name, Image: c.Image, ImageName: c.ImageName, Layer: c.Layer,
		Init:       c.Init + InitSuffix,
		FileSystem: string(c.FS), Volume: layers.ContainerVolume(c.ID), SizeBytes: c.Size, MountLabel: c.MountLabel,
		Created: c.Created.UTC()}
}

// ListedContainer is a container with its mount points and sizes.
type ListedContainer struct {
	ContainerView
	Mounts    []string     `json:"mounts"`
	Own       *units.Bytes `json:"size_bytes"`
	Virtual   *units.Bytes `json:"virtual_bytes"`
	Exclusive *units.Bytes `json:"exclusive_bytes"`
}

// Containers returns all containers with their sizes, the newest first.
func Containers(c *command.Call, store *images.Store, measure bool) ([]ListedContainer, error) {
	containers, err := store.Layers().Containers(c.Ctx)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(containers, func(a, b layers.Container) int { return b.Created.Compare(a.Created) })
	mounts, err := store.Layers().Mounts(c.Ctx)
	if err != nil {
		return nil, err
	}
	var sizes layers.Sizes
	if measure && len(containers) > 0 {
		if sizes, err = c.Sizes(store, layers.SizesOptions{}); err != nil {
			return nil, err
		}
	}
	nodes, err := store.Tree(c.Ctx)
	if err != nil {
		return nil, err
	}
	virtual := map[string]units.Bytes{}
	sumVirtual(virtual, nodes)
	views := []ListedContainer{}
	for _, one := range containers {
		v := ListedContainer{ContainerView: NewContainerView(one), Mounts: append([]string{}, mounts[one.ID]...)}
		if size, known := sizes.Containers[one.ID]; known {
			sum := size.Own + virtual[one.Layer]
			v.Own, v.Exclusive, v.Virtual = &size.Own, &size.Exclusive, &sum
		}
		views = append(views, v)
	}
	return views, nil
}

func sumVirtual(sizes map[string]units.Bytes, nodes []*images.Node) {
	for _, node := range nodes {
		sizes[node.Layer.ID] = node.Virtual
		sumVirtual(sizes, node.Children)
	}
}

// Status formats the mount points.
func (v ListedContainer) Status() string {
	if len(v.Mounts) == 0 {
		return "-"
	}
	return "mounted at " + strings.Join(v.Mounts, " and ")
}

// Size formats the sizes.
func (v ListedContainer) Size() string {
	if v.Own == nil {
		return "unknown"
	}
	return fmt.Sprintf("%s (virtual %s)", output.HumanSize(*v.Own), output.HumanSize(*v.Virtual))
}

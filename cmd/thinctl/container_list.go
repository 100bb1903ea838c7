package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/snapshots"
	"thinctl/units"
)

func (a *app) containerList() *cli.Command {
	return a.leaf(leaf{
		name: "list", args: "POOL", usage: "list the containers",
		about: "SIZE is what a container has written over its image, in blocks of the pool; virtual is that and its image. " +
			"EXCLUSIVE is what comes back when the container is removed: less than SIZE where it was committed. " +
			"INIT is the init layer that it began as, which `layer list` shows too.",
		flags: []cli.Flag{quietFlag("write only ids"), noTruncFlag()},
		run:   (*call).listContainers, complete: (*call).poolNames,
	})
}

type listedContainer struct {
	containerView
	Mounts    []string     `json:"mounts"`
	Own       *units.Bytes `json:"size_bytes"`
	Virtual   *units.Bytes `json:"virtual_bytes"`
	Exclusive *units.Bytes `json:"exclusive_bytes"`
}

func (c *call) listContainers() error {
	quiet := c.flags.Bool("quiet")
	return c.onImages(func(store *images.Store) error {
		views, err := c.containers(store, !quiet)
		if err != nil {
			return err
		}
		return c.show(struct {
			poolHead
			Containers []listedContainer `json:"containers"`
		}{headOf(store), views}, func(w io.Writer) {
			if quiet {
				for _, v := range views {
					fmt.Fprintln(w, c.digits(v.ID))
				}
				return
			}
			row(w, "CONTAINER ID", "IMAGE", "CREATED", "STATUS", "NAMES", "SIZE", "EXCLUSIVE", "INIT")
			for _, v := range views {
				row(w, c.digits(v.ID), c.imageOf(v), c.ago(v.Created), v.status(), v.Name, v.size(), humanSizeOf(v.Exclusive), c.layerName(v.Init))
			}
		})
	})
}

// containers are all, the newest first, with what they take.
func (c *call) containers(store *images.Store, measure bool) ([]listedContainer, error) {
	containers, err := store.Layers().Containers(c.ctx)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(containers, func(a, b snapshots.Container) int { return b.Created.Compare(a.Created) })
	mounts, err := store.Layers().Mounts(c.ctx)
	if err != nil {
		return nil, err
	}
	var sizes snapshots.Sizes
	if measure && len(containers) > 0 {
		if sizes, err = c.measured(store, snapshots.SizesOptions{}); err != nil {
			return nil, err
		}
	}
	nodes, err := store.Tree(c.ctx)
	if err != nil {
		return nil, err
	}
	virtual := map[string]units.Bytes{}
	sumVirtual(virtual, nodes)
	views := []listedContainer{}
	for _, one := range containers {
		v := listedContainer{containerView: newContainerView(one), Mounts: append([]string{}, mounts[one.ID]...)}
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

func (c *call) imageOf(v listedContainer) string {
	if v.ImageName != "" {
		return v.ImageName
	}
	return c.digits(v.Image)
}

func (v listedContainer) status() string {
	if len(v.Mounts) == 0 {
		return "-"
	}
	return "mounted at " + strings.Join(v.Mounts, " and ")
}

func (v listedContainer) size() string {
	if v.Own == nil {
		return "unknown"
	}
	return fmt.Sprintf("%s (virtual %s)", humanSize(*v.Own), humanSize(*v.Virtual))
}

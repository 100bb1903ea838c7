package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/snapshots"
)

func (a *app) containerMount() *cli.Command {
	return a.leaf(leaf{
		name: "mount", args: "POOL CONTAINER [DIR]", usage: "mount a container, and write where",
		about: "DIR is in the pool's folder where it is left out. The file system grows where the container was made larger than its image.",
		flags: []cli.Flag{&cli.BoolFlag{Name: "read-only", Usage: "mount read-only"}},
		run:   (*call).mountContainer, complete: (*call).containerOnce,
	})
}

func (a *app) containerUnmount() *cli.Command {
	return a.leaf(leaf{
		name: "unmount", args: "POOL CONTAINER", usage: "unmount a container everywhere",
		about: "Only mounts of this mount namespace are unmounted.",
		run:   (*call).unmountContainer, complete: (*call).containerOnce,
	})
}

type mountedContainer struct {
	oneContainer
	Dir      string `json:"dir"`
	ReadOnly bool   `json:"read_only"`
}

func (c *call) mountContainer() error {
	o := snapshots.MountOptions{ReadOnly: c.flags.Bool("read-only"), Target: c.arg(2)}
	return c.onContainer(func(store *images.Store, container snapshots.Container) error {
		done := c.progress("mounting container %s", container.Name)
		dir, err := store.Layers().MountContainer(c.ctx, container.ID, o)
		done()
		if err != nil {
			return err
		}
		view := mountedContainer{oneContainer{headOf(store), newContainerView(container)}, dir, o.ReadOnly}
		return c.show(view, func(w io.Writer) { fmt.Fprintln(w, dir) })
	})
}

func (c *call) unmountContainer() error {
	return c.onContainer(func(store *images.Store, container snapshots.Container) error {
		done := c.progress("unmounting container %s", container.Name)
		err := store.Layers().UnmountContainer(c.ctx, container.ID)
		done()
		if err != nil {
			return err
		}
		return c.show(oneContainer{headOf(store), newContainerView(container)}, func(w io.Writer) {
			fmt.Fprintf(w, "container %s unmounted\n", container.Name)
		})
	})
}

// onContainer runs do with the container that the second argument names.
func (c *call) onContainer(do func(*images.Store, snapshots.Container) error) error {
	return c.onImages(func(store *images.Store) error {
		container, err := store.Layers().Container(c.ctx, c.arg(1))
		if err != nil {
			return err
		}
		return do(store, container)
	})
}

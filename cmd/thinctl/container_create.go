package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/snapshots"
)

func (a *app) containerCreate() *cli.Command {
	return a.leaf(leaf{
		name: "create", args: "POOL IMAGE", usage: "make a container of an image, and write its id",
		about: "A container is a snapshot: it takes no space until it is written. Its first one of an image makes the image's init layer, " +
			"which has the stubs that a runtime mounts things over, and which all containers of the image share.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "name", DefaultText: "the short id", Usage: "`NAME` of the container"},
			&cli.StringFlag{Name: "size", DefaultText: "the image's", Usage: "virtual `SIZE`, not below the image's; its file system grows when it is mounted"},
			&cli.StringFlag{Name: "mount-label", Usage: "SELinux `CONTEXT` to mount it with"},
		},
		run: (*call).createContainer, complete: (*call).imageOnce,
	})
}

func (c *call) createContainer() error {
	size, err := c.sizeFlag("size")
	if err != nil {
		return err
	}
	if c.flags.IsSet("name") && c.flags.String("name") == "" {
		return c.misuse("--name is empty")
	}
	o := snapshots.ContainerOptions{Name: c.flags.String("name"), Size: size, MountLabel: c.flags.String("mount-label")}
	return c.onImages(func(store *images.Store) error {
		done := c.progress("making a container of %s", c.arg(1))
		container, err := store.CreateContainer(c.ctx, c.arg(1), o)
		done()
		if err != nil {
			return err
		}
		view := oneContainer{headOf(store), newContainerView(container)}
		return c.show(view, func(w io.Writer) { fmt.Fprintln(w, container.ID) })
	})
}

package container

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/images"
	"thinctl/internal/layers"
)

func mountCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "mount", Args: "POOL CONTAINER [DIR]", Usage: "mount a container and print the mount point",
		About: "Without DIR it is mounted in the pool's directory. The file system grows if the container is larger " +
			"than its image.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "read-only", Usage: "mount read-only"}},
		Run:   mountContainer, Complete: (*command.Call).ContainerOnce,
	})
}

func unmountCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "unmount", Args: "POOL CONTAINER", Usage: "unmount a container from all its mount points",
		About: "Unmounts only in this mount namespace.",
		Run:   unmountContainer, Complete: (*command.Call).ContainerOnce,
	})
}

type mountedContainer struct {
	oneContainer
	Dir      string `json:"dir"`
	ReadOnly bool   `json:"read_only"`
}

func mountContainer(c *command.Call) error {
	o := layers.MountOptions{ReadOnly: c.Flags.Bool("read-only"), Target: c.Arg(2)}
	return onContainer(c, func(store *images.Store, container layers.Container) error {
		done := c.Progress("mounting container %s", container.Name)
		dir, err := store.Layers().MountContainer(c.Ctx, container.ID, o)
		done()
		if err != nil {
			return err
		}
		view := mountedContainer{oneContainer{command.HeadOf(store), content.NewContainerView(container)}, dir, o.ReadOnly}
		return c.Show(view, func(w io.Writer) { fmt.Fprintln(w, dir) })
	})
}

func unmountContainer(c *command.Call) error {
	return onContainer(c, func(store *images.Store, container layers.Container) error {
		done := c.Progress("unmounting container %s", container.Name)
		err := store.Layers().UnmountContainer(c.Ctx, container.ID)
		done()
		if err != nil {
			return err
		}
		return c.Show(oneContainer{command.HeadOf(store), content.NewContainerView(container)}, func(w io.Writer) {
			fmt.Fprintf(w, "container %s unmounted\n", container.Name)
		})
	})
}

// onContainer finds the container in the second argument and runs do.
func onContainer(c *command.Call, do func(*images.Store, layers.Container) error) error {
	return c.OnImages(func(store *images.Store) error {
		container, err := store.Layers().Container(c.Ctx, c.Arg(1))
		if err != nil {
			return err
		}
		return do(store, container)
	})
}

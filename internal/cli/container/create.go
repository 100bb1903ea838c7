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

func createCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "create", Args: "POOL IMAGE", Usage: "create a container from an image and print its id",
		About: "A container is a snapshot: it takes no space until it is written to. The first container of an image " +
			"creates the image's init layer, " +
			"which has the empty files that a runtime mounts over, and which all containers of the image share.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", DefaultText: "the short id", Usage: "`NAME` of the container"},
			&cli.StringFlag{Name: "size", DefaultText: "the image's",
				Usage: "virtual `SIZE`, at least the image's; the file system grows when it is mounted"},
			&cli.StringFlag{Name: "mount-label", Usage: "mount it with this SELinux `CONTEXT`"},
		},
		Run: createContainer, Complete: (*command.Call).ImageOnce,
	})
}

func createContainer(c *command.Call) error {
	size, err := c.SizeFlag("size")
	if err != nil {
		return err
	}
	if c.Flags.IsSet("name") && c.Flags.String("name") == "" {
		return c.Misuse("--name is empty")
	}
	o := layers.ContainerOptions{Name: c.Flags.String("name"), Size: size, MountLabel: c.Flags.String("mount-label")}
	return c.OnImages(func(store *images.Store) error {
		done := c.Progress("creating a container from %s", c.Arg(1))
		container, err := store.CreateContainer(c.Ctx, c.Arg(1), o)
		done()
		if err != nil {
			return err
		}
		view := oneContainer{command.HeadOf(store), content.NewContainerView(container)}
		return c.Show(view, func(w io.Writer) { fmt.Fprintln(w, container.ID) })
	})
}

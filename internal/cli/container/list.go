package container

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
)

func listCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "list", Args: "POOL", Usage: "list the containers",
		About: "SIZE is what a container has written, in blocks of the pool; the virtual size includes its image. " +
			"EXCLUSIVE is the space that is freed when the container is removed: less than SIZE if it was committed. " +
			"INIT is the init layer that it was created from; `layer list` shows it, too.",
		Flags: []cli.Flag{command.QuietFlag("print only ids"), command.NoTruncFlag()},
		Run:   listContainers, Complete: (*command.Call).PoolNames,
	})
}

func listContainers(c *command.Call) error {
	quiet := c.Flags.Bool("quiet")
	return c.OnImages(func(store *images.Store) error {
		views, err := content.Containers(c, store, !quiet)
		if err != nil {
			return err
		}
		return c.Show(struct {
			output.PoolHead
			Containers []content.ListedContainer `json:"containers"`
		}{command.HeadOf(store), views}, func(w io.Writer) {
			if quiet {
				for _, v := range views {
					fmt.Fprintln(w, c.Digits(v.ID))
				}
				return
			}
			output.Row(w, "CONTAINER ID", "IMAGE", "CREATED", "STATUS", "NAMES", "SIZE", "EXCLUSIVE", "INIT")
			for _, v := range views {
				output.Row(w, c.Digits(v.ID), imageOf(c, v), c.Ago(v.Created), v.Status(), v.Name, v.Size(),
					output.HumanSizeOf(v.Exclusive), content.LayerName(c, v.Init))
			}
		})
	})
}

func imageOf(c *command.Call, v content.ListedContainer) string {
	if v.ImageName != "" {
		return v.ImageName
	}
	return c.Digits(v.Image)
}

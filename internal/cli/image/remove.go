package image

import (
	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/images"
)

func removeCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "remove", Args: "POOL IMAGE...", Usage: "remove names of images, and images without a name",
		About: "Removes the layers that only these images use. An image given by its id is removed with its name; one " +
			"with several names needs --force. " +
			"An image that a container was created from is kept. Works also when the pool or the host is full.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "force", Aliases: []string{"f"},
			Usage: "remove an image by its id even if it has several names"}, command.YesFlag(), command.DryRunFlag()},
		Run: removeImages, Complete: (*command.Call).ImageWords,
	})
}

func pruneCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "prune", Args: "POOL", Usage: "remove unused images and layers",
		About: "Removes images that have neither a name nor a container, and layers that no image has, such as those " +
			"of a failed load.",
		Flags: []cli.Flag{command.YesFlag(), command.DryRunFlag()},
		Run:   pruneImages, Complete: (*command.Call).PoolNames,
	})
}

func removeImages(c *command.Call) error {
	o := images.RemoveOptions{Force: c.Flags.Bool("force")}
	texts := c.Args[1:]
	return c.OnImages(func(store *images.Store) error {
		return content.Remove(c, store,
			func() (images.Removal, error) { return store.PlanRemoval(c.Ctx, texts, o) },
			func() (images.Removal, error) { return store.Remove(c.Ctx, texts, o) })
	})
}

func pruneImages(c *command.Call) error {
	return c.OnImages(func(store *images.Store) error {
		return content.Prune(c, store,
			images.PruneOptions{Images: true})
	})
}

package image

import (
	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/images"
)

func removeCommand(a *command.Environment) *cli.Command {
	return a.Command(command.Spec{
		Name: "remove", Args: "POOL IMAGE...", Usage: "take names away, and remove images that have none left",
		About: "Layers go that nobody else needs. An image given by its id goes with its name; one with several names only with --force. " +
			"One that a container was made of stays. Works where the pool or the host is full.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "remove an image by its id that has several names"}, command.YesFlag(), command.DryRunFlag()},
		Run:   removeImages, Complete: (*command.Call).ImageWords,
	})
}

func pruneCommand(a *command.Environment) *cli.Command {
	return a.Command(command.Spec{
		Name: "prune", Args: "POOL", Usage: "remove what nobody can want any more",
		About: "That are images without a name that no container was made of, and layers that no image has: a load that failed leaves such.",
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
	return c.OnImages(func(store *images.Store) error { return content.Prune(c, store, images.PruneOptions{Images: true}) })
}

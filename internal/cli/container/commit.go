package container

import (
	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/images"
	"thinctl/internal/layers"
)

func commitCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "commit", Args: "POOL CONTAINER [IMAGE]", Usage: "create an image from a container and print its id",
		About: "Copies nothing; a container that is in use is suspended for a moment. IMAGE is the name of the new image. " +
			"Docker's id of the image is computed later: when the image is first saved or pushed, by `image digest`, or " +
			"at once with --digest.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "author", Aliases: []string{"a"}, Usage: "`AUTHOR` of the image"},
			content.MessageFlag(), content.ChangeFlag(),
			&cli.BoolFlag{Name: "digest", Usage: "compute Docker's id at once, which reads the changed files"},
		},
		Run: commitContainer, Complete: (*command.Call).ContainerOnce, Long: true,
	})
}

func commitContainer(c *command.Call) error {
	o := images.CommitOptions{Author: c.Flags.String("author"), Message: c.Flags.String("message"),
		Changes: c.Texts("change")}
	var err error
	if o.Names, err = command.ParseNames(c.Arg(2)); err != nil {
		return err
	}
	return onContainer(c, func(store *images.Store, container layers.Container) error {
		done := c.Progress("committing container %s", container.Name)
		image, err := store.Commit(c.Ctx, container.ID, o)
		done()
		if err == nil && c.Flags.Bool("digest") {
			image, err = content.Identified(c, store, image)
		}
		if err != nil {
			return err
		}
		return content.ShowImage(c, store, image)
	})
}

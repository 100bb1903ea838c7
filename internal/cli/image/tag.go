package image

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/images"
	"thinctl/internal/images/reference"
)

func tagCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "tag", Args: "POOL IMAGE NEWNAME", Usage: "add a name to an image",
		About: "If another image has the name, that image loses it.",
		Run:   tagImage, Complete: (*command.Call).ImageOnce,
	})
}

func tagImage(c *command.Call) error {
	name, err := reference.Parse(c.Arg(2))
	if err != nil {
		return err
	}
	return c.OnImages(func(store *images.Store) error {
		image, err := store.Tag(c.Ctx, c.Arg(1), name)
		if err != nil {
			return err
		}
		view := content.OneImage{PoolHead: command.HeadOf(store), Image: content.NewImageView(image)}
		return c.Show(view, func(w io.Writer) { fmt.Fprintf(w, "%s is image %s\n", name.Familiar(), view.Image.ShortID()) })
	})
}

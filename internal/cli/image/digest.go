package image

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
)

func digestCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "digest", Args: "POOL IMAGE...", Usage: "print Docker's ids of images",
		About: "The id of an image that was committed here is computed when it is first needed, from the changes in " +
			"its layers, and is kept.",
		Run: showDigests, Complete: (*command.Call).ImageWords, Long: true,
	})
}

func showDigests(c *command.Call) error {
	return c.OnImages(func(store *images.Store) error {
		views := []content.ImageView{}
		for _, text := range c.Args[1:] {
			image, err := store.Image(c.Ctx, text)
			if err == nil {
				image, err = content.Identified(c, store, image)
			}
			if err != nil {
				return err
			}
			views = append(views, content.NewImageView(image))
		}
		return c.Show(struct {
			output.PoolHead
			Images []content.ImageView `json:"images"`
		}{command.HeadOf(store), views}, func(w io.Writer) {
			for _, v := range views {
				fmt.Fprintln(w, v.Full())
			}
		})
	})
}

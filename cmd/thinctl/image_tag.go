package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/internal/images/reference"
)

func (a *app) imageTag() *cli.Command {
	return a.leaf(leaf{
		name: "tag", args: "POOL IMAGE NEWNAME", usage: "give an image one more name",
		about: "An image that had the name loses it.",
		run:   (*call).tagImage, complete: (*call).imageOnce,
	})
}

func (c *call) tagImage() error {
	name, err := reference.Parse(c.arg(2))
	if err != nil {
		return err
	}
	return c.onImages(func(store *images.Store) error {
		image, err := store.Tag(c.ctx, c.arg(1), name)
		if err != nil {
			return err
		}
		view := oneImage{headOf(store), newImageView(image)}
		return c.show(view, func(w io.Writer) { fmt.Fprintf(w, "%s is image %s\n", name.Familiar(), view.Image.shortID()) })
	})
}

package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
)

func (a *app) imageDigest() *cli.Command {
	return a.leaf(leaf{
		name: "digest", args: "POOL IMAGE...", usage: "write Docker's ids of images",
		about: "The id of an image that was committed here is computed when it is first asked for, from what its layers changed, and kept.",
		run:   (*call).imageDigests, complete: (*call).imageWords, long: true,
	})
}

func (c *call) imageDigests() error {
	return c.onImages(func(store *images.Store) error {
		views := []imageView{}
		for _, text := range c.args[1:] {
			image, err := store.Image(c.ctx, text)
			if err == nil {
				image, err = c.identified(store, image)
			}
			if err != nil {
				return err
			}
			views = append(views, newImageView(image))
		}
		return c.show(struct {
			poolHead
			Images []imageView `json:"images"`
		}{headOf(store), views}, func(w io.Writer) {
			for _, v := range views {
				fmt.Fprintln(w, v.full())
			}
		})
	})
}

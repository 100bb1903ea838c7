package main

import (
	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/snapshots"
)

func (a *app) containerCommit() *cli.Command {
	return a.leaf(leaf{
		name: "commit", args: "POOL CONTAINER [IMAGE]", usage: "make an image of what a container holds now, and write its id",
		about: "Nothing is copied, and a container that is in use stands still for a moment only. IMAGE is the name that the image gets. " +
			"Its id is Docker's once it is computed: with --digest, or when the image is first saved, pushed or asked for it.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "author", Aliases: []string{"a"}, Usage: "`WHO` made it"},
			messageFlag(), changeFlag(),
			&cli.BoolFlag{Name: "digest", Usage: "compute Docker's id at once: reads what was changed"},
		},
		run: (*call).commitContainer, complete: (*call).containerOnce, long: true,
	})
}

func (c *call) commitContainer() error {
	o := images.CommitOptions{Author: c.flags.String("author"), Message: c.flags.String("message"), Changes: c.texts("change")}
	var err error
	if o.Names, err = parseNames(c.arg(2)); err != nil {
		return err
	}
	return c.onContainer(func(store *images.Store, container snapshots.Container) error {
		done := c.progress("committing container %s", container.Name)
		image, err := store.Commit(c.ctx, container.ID, o)
		done()
		if err == nil && c.flags.Bool("digest") {
			image, err = c.identified(store, image)
		}
		if err != nil {
			return err
		}
		return c.showImage(store, image)
	})
}

package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/internal/images/reference"
)

func (a *app) imageList() *cli.Command {
	return a.leaf(leaf{
		name: "list", args: "POOL", usage: "list the images",
		about: "SIZE is what all of an image's layers hold, shared or not; EXCLUSIVE is what comes back to the pool when the image is removed. " +
			"The id of an image that was committed here, and never saved, pushed or asked for its digest, is not Docker's yet.",
		flags: []cli.Flag{quietFlag("write only ids"), noTruncFlag(), digestFlag()},
		run:   (*call).listImages, complete: (*call).poolNames,
	})
}

func digestFlag() cli.Flag {
	return &cli.BoolFlag{Name: "digest", Usage: "compute Docker's ids that are not known yet: reads the committed layers"}
}

func (c *call) listImages() error {
	quiet := c.flags.Bool("quiet")
	return c.onImages(func(store *images.Store) error {
		if c.flags.Bool("digest") {
			if err := c.identifyAll(store); err != nil {
				return err
			}
		}
		views, err := c.summaries(store, !quiet)
		if err != nil {
			return err
		}
		return c.show(struct {
			poolHead
			Images []measuredImage `json:"images"`
		}{headOf(store), views}, func(w io.Writer) {
			if quiet {
				for _, v := range views {
					fmt.Fprintln(w, c.imageID(v.imageView))
				}
				return
			}
			row(w, "REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "EXCLUSIVE")
			for _, v := range views {
				for _, name := range columnsOf(v.Names) {
					row(w, name[0], name[1], c.imageID(v.imageView), c.ago(v.Created), humanSize(v.Size), humanSizeOf(v.Exclusive))
				}
			}
		})
	})
}

func (c *call) identifyAll(store *images.Store) error {
	all, err := store.Images(c.ctx)
	if err != nil {
		return err
	}
	for _, image := range all {
		if _, err := c.identified(store, image); err != nil {
			return err
		}
	}
	return nil
}

// imageID is the id as Docker shows it.
func (c *call) imageID(v imageView) string {
	if c.flags.Bool("no-trunc") {
		return v.full()
	}
	return v.shortID()
}

const none = "<none>"

// columnsOf are repository and tag of each name, or of a nameless image.
func columnsOf(names []string) [][2]string {
	var columns [][2]string
	for _, text := range names {
		name, err := reference.Parse(text)
		if err != nil { // the names were references just now
			continue
		}
		tag := name.Tag()
		if tag == "" {
			tag = none
		}
		columns = append(columns, [2]string{name.FamiliarRepository(), tag})
	}
	if len(columns) == 0 {
		columns = [][2]string{{none, none}}
	}
	return columns
}

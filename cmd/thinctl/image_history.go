package main

import (
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/units"
)

func (a *app) imageHistory() *cli.Command {
	return a.leaf(leaf{
		name: "history", args: "POOL IMAGE", usage: "say how an image was made",
		about: "The newest step comes first. A step without an image id ended no image of this pool.",
		flags: []cli.Flag{quietFlag("write only ids"), noTruncFlag()},
		run:   (*call).imageHistory, complete: (*call).imageOnce,
	})
}

type stepView struct {
	Image     string      `json:"image,omitempty"`
	Layer     string      `json:"layer,omitempty"`
	Created   time.Time   `json:"created,omitzero"`
	CreatedBy string      `json:"created_by"`
	Author    string      `json:"author,omitempty"`
	Comment   string      `json:"comment,omitempty"`
	Size      units.Bytes `json:"size_bytes"`
}

func (c *call) imageHistory() error {
	return c.onImages(func(store *images.Store) error {
		steps, err := store.History(c.ctx, c.arg(1))
		if err != nil {
			return err
		}
		views := []stepView{}
		for _, s := range steps {
			views = append(views, stepView{Image: s.Image, Layer: s.Layer, Created: s.Created.UTC(), CreatedBy: s.By, Author: s.Author, Comment: s.Comment, Size: s.Size})
		}
		return c.show(struct {
			poolHead
			History []stepView `json:"history"`
		}{headOf(store), views}, func(w io.Writer) {
			if !c.flags.Bool("quiet") {
				fmt.Fprintln(w, "IMAGE\tCREATED\tCREATED BY\tSIZE\tCOMMENT")
			}
			for _, v := range views {
				c.writeStep(w, v)
			}
		})
	})
}

func (c *call) writeStep(w io.Writer, v stepView) {
	id, by := "<missing>", harmless(v.CreatedBy)
	if v.Image != "" {
		id = c.digits(v.Image)
	}
	if c.flags.Bool("quiet") {
		fmt.Fprintln(w, id)
		return
	}
	if !c.flags.Bool("no-trunc") {
		by = clipped(by, 45)
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", id, c.ago(v.Created), by, humanSize(v.Size), harmless(v.Comment))
}

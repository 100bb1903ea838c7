package image

import (
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
	"thinctl/units"
)

func historyCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "history", Args: "POOL IMAGE", Usage: "show how an image was made",
		About: "The newest step comes first. A step has an image id only if this pool has the image that ends with it.",
		Flags: []cli.Flag{command.QuietFlag("print only ids"), command.NoTruncFlag()},
		Run:   showHistory, Complete: (*command.Call).ImageOnce,
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

func showHistory(c *command.Call) error {
	return c.OnImages(func(store *images.Store) error {
		steps, err := store.History(c.Ctx, c.Arg(1))
		if err != nil {
			return err
		}
		views := []stepView{}
		for _, s := range steps {
			views = append(views, stepView{Image: s.Image, Layer: s.Layer, Created: s.Created.UTC(), CreatedBy: s.By,
				Author: s.Author, Comment: s.Comment, Size: s.Size})
		}
		return c.Show(struct {
			output.PoolHead
			History []stepView `json:"history"`
		}{command.HeadOf(store), views}, func(w io.Writer) {
			if !c.Flags.Bool("quiet") {
				fmt.Fprintln(w, "IMAGE\tCREATED\tCREATED BY\tSIZE\tCOMMENT")
			}
			for _, v := range views {
				writeStep(c, w, v)
			}
		})
	})
}

func writeStep(c *command.Call, w io.Writer, v stepView) {
	id, by := "<missing>", output.Harmless(v.CreatedBy)
	if v.Image != "" {
		id = c.Digits(v.Image)
	}
	if c.Flags.Bool("quiet") {
		fmt.Fprintln(w, id)
		return
	}
	if !c.Flags.Bool("no-trunc") {
		by = output.Clipped(by, 45)
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", id, c.Ago(v.Created), by, output.HumanSize(v.Size), output.Harmless(v.Comment))
}

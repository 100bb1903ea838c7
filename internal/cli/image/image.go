// Package image has the commands about images.
package image

import (
	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/images"
	"thinctl/units"
)

func Commands(a *command.Environment) *cli.Command {
	return &cli.Command{
		Name:  "image",
		Usage: "load, create and manage images",
		Subcommands: []*cli.Command{
			loadCommand(a), saveCommand(a), pullCommand(a), pushCommand(a), importCommand(a), listCommand(a), historyCommand(a), inspectCommand(a),
			treeCommand(a), digestCommand(a), tagCommand(a), removeCommand(a), pruneCommand(a),
		},
		BashComplete: a.Completer(nil),
	}
}

// measuredImage is an image with what it takes.
type measuredImage struct {
	content.ImageView
	// Size is the sum of its layers' sizes: Docker's virtual size.
	Size       units.Bytes  `json:"size_bytes"`
	Exclusive  *units.Bytes `json:"exclusive_bytes"`
	Containers int          `json:"containers"`
}

func newMeasuredImage(s images.Summary, known bool) measuredImage {
	v := measuredImage{ImageView: content.NewImageView(s.Image), Size: s.Size, Containers: s.Containers}
	if known {
		v.Exclusive = &s.Exclusive
	}
	return v
}

// summaries returns all images with what they take, as far as that is known.
func summaries(c *command.Call, store *images.Store, exclusive bool) ([]measuredImage, error) {
	var summaries []images.Summary
	var err error
	known := exclusive
	if exclusive {
		done := c.ReadingSizes(store)
		summaries, err = store.Summaries(c.Ctx, true)
		done()
		if err != nil {
			if err := c.IgnoreUnmeasured(err); err != nil {
				return nil, err
			}
			known = false
		}
	}
	if !known {
		if summaries, err = store.Summaries(c.Ctx, false); err != nil {
			return nil, err
		}
	}
	views := []measuredImage{}
	for _, s := range summaries {
		views = append(views, newMeasuredImage(s, known))
	}
	return views, nil
}

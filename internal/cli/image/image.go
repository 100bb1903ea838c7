// Package image has the commands about images.
package image

import (
	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/images"
	"thinctl/units"
)

// Commands returns `thinctl image` with its commands.
func Commands(env *command.Environment) *cli.Command {
	return &cli.Command{
		Name:  "image",
		Usage: "load, create and manage images",
		Subcommands: []*cli.Command{
			loadCommand(env), saveCommand(env), pullCommand(env), pushCommand(env), importCommand(env), listCommand(env),
			historyCommand(env), inspectCommand(env),
			treeCommand(env), digestCommand(env), tagCommand(env), removeCommand(env), pruneCommand(env),
		},
		BashComplete: env.Completer(nil),
	}
}

// measuredImage is an image with its sizes.
type measuredImage struct {
	content.ImageView
	// Size is the sum of the sizes of its layers, Docker's virtual size.
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

// summaries returns all images, with their sizes as far as they are known.
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

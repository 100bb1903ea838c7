package image

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
	"thinctl/internal/images/reference"
)

func listCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "list", Args: "POOL", Usage: "list the images",
		About: "SIZE is the size of all layers of an image, shared or not; EXCLUSIVE is the space that is freed when " +
			"the image is removed. " +
			"An image that was committed here gets Docker's id when it is first saved or pushed, or with --digest.",
		Flags: []cli.Flag{command.QuietFlag("print only ids"), command.NoTruncFlag(), digestFlag()},
		Run:   listImages, Complete: (*command.Call).PoolNames,
	})
}

func digestFlag() cli.Flag {
	return &cli.BoolFlag{Name: "digest", Usage: "compute Docker's ids of committed images, which reads their layers"}
}

func listImages(c *command.Call) error {
	quiet := c.Flags.Bool("quiet")
	return c.OnImages(func(store *images.Store) error {
		if c.Flags.Bool("digest") {
			if err := identifyAll(c, store); err != nil {
				return err
			}
		}
		views, err := summaries(c, store, !quiet)
		if err != nil {
			return err
		}
		return c.Show(struct {
			output.PoolHead
			Images []measuredImage `json:"images"`
		}{command.HeadOf(store), views}, func(w io.Writer) {
			if quiet {
				for _, v := range views {
					fmt.Fprintln(w, imageID(c, v.ImageView))
				}
				return
			}
			output.Row(w, "REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "EXCLUSIVE")
			for _, v := range views {
				for _, name := range columnsOf(v.Names) {
					output.Row(w, name[0], name[1], imageID(c, v.ImageView), c.Ago(v.Created), output.HumanSize(v.Size),
						output.HumanSizeOf(v.Exclusive))
				}
			}
		})
	})
}

func identifyAll(c *command.Call, store *images.Store) error {
	all, err := store.Images(c.Ctx)
	if err != nil {
		return err
	}
	for _, image := range all {
		if _, err := content.Identified(c, store, image); err != nil {
			return err
		}
	}
	return nil
}

// imageID returns the id as Docker prints it.
func imageID(c *command.Call, v content.ImageView) string {
	if c.Flags.Bool("no-trunc") {
		return v.Full()
	}
	return v.ShortID()
}

const none = "<none>"

// columnsOf returns repository and tag of each name, or one row for an image without a name.
func columnsOf(names []string) [][2]string {
	var columns [][2]string
	for _, text := range names {
		name, err := reference.Parse(text)
		if err != nil { // cannot happen: the names were references
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

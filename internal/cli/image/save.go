package image

import (
	"errors"
	"io"
	"slices"
	"sync/atomic"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
	"thinctl/internal/images/archive"
)

func saveCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "save", Args: "POOL IMAGE...", Usage: "write images to an archive",
		About: "A layer that several images share is written once. Docker, podman, skopeo and containerd load the archive. " +
			"It goes to standard output, also with --json, or to a new file, which appears when it is complete.",
		Flags: []cli.Flag{
			content.OutputFlag(),
			&cli.StringFlag{Name: "format", Value: "docker",
				Usage: "`FORMAT` of the archive: docker, which every docker load reads, or oci"},
		},
		Run: saveImages, Complete: (*command.Call).ImageWords, Long: true,
	})
}

func saveImages(c *command.Call) error {
	write := archive.WriteDocker
	switch format := c.Flags.String("format"); format {
	case "docker":
	case "oci":
		write = archive.WriteOCI
	default:
		return c.Misuse("--format %q: unknown format: use docker or oci", format)
	}
	return c.OnImages(func(store *images.Store) (err error) {
		entries, views, shut, err := openImages(c, store)
		defer func() { err = errors.Join(err, shut()) }()
		if err != nil {
			return err
		}
		noun := output.Plural(len(views), "image")
		view := content.NewSavedView(command.HeadOf(store), noun)
		view.Images = views
		return content.ToFile(c, "output", &view, func(w io.Writer) error {
			moved, done := c.Moving("saving %s", noun)
			defer done()
			var written atomic.Int64
			return write(c.Ctx, w, entries, archive.WriteOptions{TempDir: tempDir(c),
				Progress: func(n int64) { moved(written.Add(n)) }})
		})
	})
}

// openImages opens the images in all arguments, each once. shut closes those that were opened,
// also after an error.
func openImages(c *command.Call, store *images.Store) (entries []archive.Entry, views []content.ImageView,
	shut func() error, err error) {
	var opened []*images.Opened
	shut = func() (err error) {
		for _, one := range opened {
			err = errors.Join(err, one.Close())
		}
		return err
	}
	at := map[string]int{}
	for _, text := range c.Args[1:] {
		one, err := openImage(c, store, text)
		if err != nil {
			return nil, nil, shut, err
		}
		opened = append(opened, one)
		i, seen := at[one.Record.Key]
		if !seen {
			i = len(entries)
			at[one.Record.Key] = i
			entries = append(entries, archive.Entry{Image: one.Image})
			views = append(views, content.NewImageView(one.Record))
		}
		for _, name := range one.Names {
			if !slices.Contains(entries[i].Names, name.String()) {
				entries[i].Names = append(entries[i].Names, name.String())
			}
		}
	}
	return entries, views, shut, nil
}

// openImage opens an image for reading, which may compute its digests.
func openImage(c *command.Call, store *images.Store, text string) (*images.Opened, error) {
	done := c.Progress("preparing image %s", text)
	defer done()
	return store.Open(c.Ctx, text)
}

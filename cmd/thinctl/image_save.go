package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/internal/images/archive"
	"thinctl/units"
)

func (a *app) imageSave() *cli.Command {
	return a.leaf(leaf{
		name: "save", args: "POOL IMAGE...", usage: "write images to an archive",
		about: "A layer that several images share is written once. Docker, podman, skopeo and containerd load the archive. " +
			"It goes to standard output, whatever --json says, or to a new file, which appears once it is whole.",
		flags: []cli.Flag{
			outputFlag(),
			&cli.StringFlag{Name: "format", Value: "docker", Usage: "docker, which every docker load reads, or oci"},
		},
		run: (*call).saveImages, complete: (*call).imageWords, long: true,
	})
}

func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to a new `FILE`, which appears once it is whole; - for standard output"}
}

type savedView struct {
	poolHead
	Output string      `json:"output"`
	Bytes  units.Bytes `json:"bytes"`
	Images []imageView `json:"images,omitempty"`
	noun   string
}

func newSavedView(head poolHead, noun string) savedView { return savedView{poolHead: head, noun: noun} }

func (v savedView) write(w io.Writer) {
	fmt.Fprintf(w, "%s written to %s, %s\n", v.noun, v.Output, humanSize(v.Bytes))
}

func (c *call) saveImages() error {
	write := archive.WriteDocker
	switch format := c.flags.String("format"); format {
	case "docker":
	case "oci":
		write = archive.WriteOCI
	default:
		return c.misuse("--format %q is not known, only docker and oci", format)
	}
	return c.onImages(func(store *images.Store) (err error) {
		entries, views, shut, err := c.openImages(store)
		defer func() { err = errors.Join(err, shut()) }()
		if err != nil {
			return err
		}
		noun := plural(len(views), "image")
		view := newSavedView(headOf(store), noun)
		view.Images = views
		return c.toFile("output", &view, func(w io.Writer) error {
			tell, done := c.moving("saving %s", noun)
			defer done()
			var written atomic.Int64
			return write(c.ctx, w, entries, archive.WriteOptions{TempDir: c.tempDir(), Progress: func(n int64) { tell(written.Add(n)) }})
		})
	})
}

// openImages opens the images of all arguments, each once. shut closes those
// that were opened, also after an error.
func (c *call) openImages(store *images.Store) (entries []archive.Entry, views []imageView, shut func() error, err error) {
	var opened []*images.Opened
	shut = func() (err error) {
		for _, one := range opened {
			err = errors.Join(err, one.Close())
		}
		return err
	}
	at := map[string]int{}
	for _, text := range c.args[1:] {
		one, err := c.openImage(store, text)
		if err != nil {
			return nil, nil, shut, err
		}
		opened = append(opened, one)
		i, seen := at[one.Record.Key]
		if !seen {
			i = len(entries)
			at[one.Record.Key] = i
			entries = append(entries, archive.Entry{Image: one.Image})
			views = append(views, newImageView(one.Record))
		}
		for _, name := range one.Names {
			if !slices.Contains(entries[i].Names, name.String()) {
				entries[i].Names = append(entries[i].Names, name.String())
			}
		}
	}
	return entries, views, shut, nil
}

// openImage opens an image to be read. Its digests may have to be computed.
func (c *call) openImage(store *images.Store, text string) (*images.Opened, error) {
	done := c.progress("preparing image %s", text)
	defer done()
	return store.Open(c.ctx, text)
}

// toFile writes to the new file that a flag names, and shows view, or to
// standard output and shows nothing.
func (c *call) toFile(flag string, view *savedView, write func(io.Writer) error) (err error) {
	path := c.flags.String(flag)
	if path == "" && c.flags.IsSet(flag) {
		return c.misuse("--%s has no name", flag)
	}
	if path == "" || path == "-" {
		out, err := c.raw("--" + flag)
		if err != nil {
			return err
		}
		return write(out)
	}
	file, err := createFile(path, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := write(file); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := file.commit(); err != nil {
		return err
	}
	view.Output, view.Bytes = path, units.Bytes(info.Size())
	return c.show(*view, view.write)
}

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/internal/images/reference"
	"thinctl/internal/images/registry"
	"thinctl/units"
)

func (a *app) imagePush() *cli.Command {
	return a.leaf(leaf{
		name: "push", args: "POOL IMAGE", usage: "send an image to a registry",
		about: "The image is given by the name that it is to have there; `image tag` makes one. Layers that the registry has are not sent again.",
		flags: registryFlags(),
		run:   (*call).pushImage, complete: (*call).imageOnce, long: true,
	})
}

type pushedView struct {
	oneImage
	Name   string      `json:"name"`
	Digest string      `json:"digest"`
	Size   units.Bytes `json:"manifest_bytes"`
}

func (c *call) pushImage() error {
	name, err := reference.Parse(c.arg(1))
	if err != nil {
		return err
	}
	remote, err := name.Remote()
	if err != nil {
		return err
	}
	return c.onImages(func(store *images.Store) (err error) {
		opened, err := c.openImage(store, c.arg(1))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, opened.Close()) }()
		if !slices.Contains(opened.Names, name) {
			return c.misuse("%s is no name of the image: give it one with `thinctl image tag`", c.arg(1))
		}
		lines := c.layerLines(opened.Record.Layers)
		o := c.registry()
		o.Progress = pushing(lines)
		pushed, err := registry.Push(c.ctx, remote, opened.Image, o)
		lines.close()
		if err == nil {
			err = store.Pushed(c.ctx, opened, pushed.Layers)
		}
		if err != nil {
			return err
		}
		view := pushedView{oneImage{headOf(store), newImageView(opened.Record)}, name.Familiar(), pushed.Digest.String(), units.Bytes(pushed.Size)}
		return c.show(view, func(w io.Writer) {
			if c.flags.Bool("quiet") {
				fmt.Fprintln(w, name)
				return
			}
			fmt.Fprintf(w, "%s: digest: %s size: %d\n", name.Tag(), view.Digest, uint64(view.Size))
		})
	})
}

func pushing(l *layerLines) func(registry.Progress) {
	return func(p registry.Progress) {
		switch {
		case p.Had:
			l.end(p.Layer, "Layer already exists")
		case p.Ended:
			l.end(p.Layer, "Pushed")
		default:
			l.count(p.Layer, "Pushing", p.Done, p.Total)
		}
	}
}

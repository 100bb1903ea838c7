package image

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/terminal"
	"thinctl/internal/images"
	"thinctl/internal/images/reference"
	"thinctl/internal/images/registry"
	"thinctl/units"
)

func pushCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "push", Args: "POOL IMAGE", Usage: "push an image to a registry",
		About: "IMAGE is the name that the image gets in the registry; `image tag` adds a name. Layers that the " +
			"registry has are not sent again.",
		Flags: registryFlags(),
		Run:   pushImage, Complete: (*command.Call).ImageOnce, Long: true,
	})
}

type pushedView struct {
	content.OneImage
	Name   string      `json:"name"`
	Digest string      `json:"digest"`
	Size   units.Bytes `json:"manifest_bytes"`
}

func pushImage(c *command.Call) error {
	name, err := reference.Parse(c.Arg(1))
	if err != nil {
		return err
	}
	remote, err := name.Remote()
	if err != nil {
		return err
	}
	return c.OnImages(func(store *images.Store) (err error) {
		opened, err := openImage(c, store, c.Arg(1))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, opened.Close()) }()
		if !slices.Contains(opened.Names, name) {
			return c.Misuse("%s is not a name of the image: add it with `thinctl image tag`", c.Arg(1))
		}
		lines := c.LayerLines(opened.Record.Layers)
		o := registryOptions(c)
		o.Progress = pushing(lines)
		pushed, err := registry.Push(c.Ctx, remote, opened.Image, o)
		lines.Close()
		if err == nil {
			err = store.Pushed(c.Ctx, opened, pushed.Layers)
		}
		if err != nil {
			return err
		}
		view := pushedView{content.OneImage{PoolHead: command.HeadOf(store), Image: content.NewImageView(opened.Record)},
			name.Familiar(), pushed.Digest.String(), units.Bytes(pushed.Size)}
		return c.Show(view, func(w io.Writer) {
			if c.Flags.Bool("quiet") {
				fmt.Fprintln(w, name)
				return
			}
			fmt.Fprintf(w, "%s: digest: %s size: %d\n", name.Tag(), view.Digest, uint64(view.Size))
		})
	})
}

func pushing(l *terminal.Layers) func(registry.Progress) {
	return func(p registry.Progress) {
		switch {
		case p.Had:
			l.End(p.Layer, "Layer already exists")
		case p.Ended:
			l.End(p.Layer, "Pushed")
		default:
			l.Count(p.Layer, "Pushing", p.Done, p.Total)
		}
	}
}

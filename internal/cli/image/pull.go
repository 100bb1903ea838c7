package image

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/terminal"
	"thinctl/internal/images"
	"thinctl/internal/images/reference"
	"thinctl/internal/images/registry"
)

func pullCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "pull", Args: "POOL IMAGE", Usage: "pull an image from a registry",
		About: "A name without a host means Docker Hub; a name without a tag means latest. " +
			"Several layers are fetched concurrently, and a broken transfer is resumed. " +
			"Uses the credentials of docker login.",
		Flags: append(append(registryFlags(), platformFlag()), layerFlags()...),
		Run:   pullImage, Complete: (*command.Call).PoolNames, Long: true,
	})
}

func registryFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "insecure", Usage: "allow plain HTTP, any certificate, and private addresses"},
		&cli.StringFlag{Name: "tls-ca", Usage: "trust the PEM certificates in this `FILE` in addition to the system's"},
		command.QuietFlag("print only the result, no progress of layers"),
	}
}

func registryOptions(c *command.Call) registry.Options {
	return registry.Options{Insecure: c.Flags.Bool("insecure"), CA: c.Flags.String("tls-ca"), Warn: c.Warn()}
}

type pulledView struct {
	content.OneImage
	command.WarnedView
	Digest  string `json:"digest"`
	Changed bool   `json:"changed"` // the name was new or had another image
	name    reference.Reference
}

func (v pulledView) write(w io.Writer) {
	status := "Image is up to date for "
	if v.Changed {
		status = "Downloaded newer image for "
	}
	fmt.Fprintf(w, "Digest: %s\nStatus: %s%s\n%s\n", v.Digest, status, v.name.Familiar(), v.name)
}

func pullImage(c *command.Call) error {
	name, err := reference.Parse(c.Arg(1))
	if err != nil {
		return err
	}
	ro := registryOptions(c)
	lo := images.LoadOptions{Names: []reference.Reference{name}, Warn: c.Warn()}
	if ro.Platform, err = platform(c); err == nil {
		lo.FS, lo.Size, err = base(c)
	}
	if err == nil {
		lo.Limits, err = limits(c)
	}
	if err != nil {
		return err
	}
	return c.OnImages(func(store *images.Store) error {
		before, err := store.Image(c.Ctx, name.String())
		if err != nil && !errors.Is(err, reference.ErrNotFound) {
			return err
		}
		image, digest, err := pull(c, store, name, ro, lo)
		if err != nil {
			return err
		}
		view := pulledView{content.OneImage{PoolHead: command.HeadOf(store), Image: content.NewImageView(image)},
			c.Warned(), digest, before.Key != image.Key, name}
		return c.Show(view, func(w io.Writer) {
			if c.Flags.Bool("quiet") {
				fmt.Fprintln(w, name)
				return
			}
			view.write(w)
		})
	})
}

// pull fetches layers while earlier layers are applied.
func pull(c *command.Call, store *images.Store, name reference.Reference, ro registry.Options,
	lo images.LoadOptions) (image images.Image, digest string, err error) {
	remote, err := name.Remote()
	if err != nil {
		return image, "", err
	}
	done := c.Progress("requesting %s from %s", name.Familiar(), name.Host())
	pulled, err := registry.Pull(c.Ctx, remote, ro)
	done()
	if err != nil {
		return image, "", err
	}
	ids, have, err := store.Have(c.Ctx, pulled)
	if err != nil {
		return image, "", err
	}
	lines := c.LayerLines(ids)
	defer lines.Close()
	fetched, err := registry.Fetch(c.Ctx, pulled,
		registry.FetchOptions{Dir: tempDir(c), Skip: have, Progress: transfer(lines, "Downloading", "Download complete")})
	if err != nil {
		return image, "", err
	}
	defer func() { err = errors.Join(err, fetched.Close()) }()
	lo.Manifest, lo.Progress = pulled.Named.String(), loading(lines, "Extracting", "Pull complete")
	image, err = store.Load(c.Ctx, fetched, lo)
	return image, lo.Manifest, err
}

// transfer shows the progress of layers while they are transferred.
func transfer(l *terminal.Layers, doing, done string) func(registry.Progress) {
	return func(p registry.Progress) {
		if p.Ended {
			l.Set(p.Layer, done, false)
			return
		}
		l.Count(p.Layer, doing, p.Done, p.Total)
	}
}

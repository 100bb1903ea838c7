package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/internal/images/reference"
	"thinctl/internal/images/registry"
)

func (a *app) imagePull() *cli.Command {
	return a.leaf(leaf{
		name: "pull", args: "POOL IMAGE", usage: "get an image from a registry",
		about: "Without a host in its name the image comes from Docker Hub, without a tag it is the latest. " +
			"Several layers come at once, and a transfer that breaks off goes on from where it was. " +
			"Names and passwords are those of docker login.",
		flags: append(append(registryFlags(), platformFlag()), layerFlags()...),
		run:   (*call).pullImage, complete: (*call).poolNames, long: true,
	})
}

func registryFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "insecure", Usage: "allow plain HTTP, any certificate, and private addresses"},
		&cli.StringFlag{Name: "tls-ca", Usage: "`FILE` of certificates in PEM to be trusted beside the system's"},
		quietFlag("write only the result, and nothing of the layers"),
	}
}

func (c *call) registry() registry.Options {
	return registry.Options{Insecure: c.flags.Bool("insecure"), CA: c.flags.String("tls-ca"), Warn: c.warn()}
}

type pulledView struct {
	oneImage
	warnedView
	Digest  string `json:"digest"`
	Changed bool   `json:"changed"` // the name stood for another image, or for none
	name    reference.Reference
}

func (v pulledView) write(w io.Writer) {
	status := "Image is up to date for "
	if v.Changed {
		status = "Downloaded newer image for "
	}
	fmt.Fprintf(w, "Digest: %s\nStatus: %s%s\n%s\n", v.Digest, status, v.name.Familiar(), v.name)
}

func (c *call) pullImage() error {
	name, err := reference.Parse(c.arg(1))
	if err != nil {
		return err
	}
	ro := c.registry()
	lo := images.LoadOptions{Names: []reference.Reference{name}, Warn: c.warn()}
	if ro.Platform, err = c.platform(); err == nil {
		lo.FS, lo.Size, err = c.base()
	}
	if err == nil {
		lo.Limits, err = c.limits()
	}
	if err != nil {
		return err
	}
	return c.onImages(func(store *images.Store) error {
		before, err := store.Image(c.ctx, name.String())
		if err != nil && !errors.Is(err, reference.ErrNotFound) {
			return err
		}
		image, digest, err := c.pull(store, name, ro, lo)
		if err != nil {
			return err
		}
		view := pulledView{oneImage{headOf(store), newImageView(image)}, c.warned(), digest, before.Key != image.Key, name}
		return c.show(view, func(w io.Writer) {
			if c.flags.Bool("quiet") {
				fmt.Fprintln(w, name)
				return
			}
			view.write(w)
		})
	})
}

// pull fetches layers while those before them are applied.
func (c *call) pull(store *images.Store, name reference.Reference, ro registry.Options, lo images.LoadOptions) (image images.Image, digest string, err error) {
	remote, err := name.Remote()
	if err != nil {
		return image, "", err
	}
	done := c.progress("asking %s for %s", name.Host(), name.Familiar())
	pulled, err := registry.Pull(c.ctx, remote, ro)
	done()
	if err != nil {
		return image, "", err
	}
	ids, have, err := store.Have(c.ctx, pulled)
	if err != nil {
		return image, "", err
	}
	lines := c.layerLines(ids)
	defer lines.close()
	fetched, err := registry.Fetch(c.ctx, pulled, registry.FetchOptions{Dir: c.tempDir(), Skip: have, Progress: transfer(lines, "Downloading", "Download complete")})
	if err != nil {
		return image, "", err
	}
	defer func() { err = errors.Join(err, fetched.Close()) }()
	lo.Manifest, lo.Progress = pulled.Named.String(), loading(lines, "Extracting", "Pull complete")
	image, err = store.Load(c.ctx, fetched, lo)
	return image, lo.Manifest, err
}

// transfer tells of layers on their way.
func transfer(l *layerLines, doing, done string) func(registry.Progress) {
	return func(p registry.Progress) {
		if p.Ended {
			l.set(p.Layer, done, false)
			return
		}
		l.count(p.Layer, doing, p.Done, p.Total)
	}
}

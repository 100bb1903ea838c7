package main

import (
	"errors"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/units"
)

func (a *app) imageImport() *cli.Command {
	return a.leaf(leaf{
		name: "import", args: "POOL FILE [IMAGE]", usage: "make an image of a tar of one file tree",
		about: "FILE is a tar, compressed or not, as `container export` writes it, or - for standard input. Writes the image's id.",
		flags: append([]cli.Flag{changeFlag(), messageFlag()}, layerFlags()...),
		run:   (*call).importImage, complete: (*call).poolNames, long: true,
	})
}

func changeFlag() cli.Flag {
	return stringsFlag("change", "c", "Dockerfile `INSTRUCTION` to apply to the config: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, USER, VOLUME or WORKDIR; may be repeated")
}

func messageFlag() cli.Flag {
	return &cli.StringFlag{Name: "message", Aliases: []string{"m"}, Usage: "`TEXT` for the image's history"}
}

func (c *call) importImage() error {
	o := images.ImportOptions{Message: c.flags.String("message"), Changes: c.texts("change"), Warn: c.warn()}
	var err error
	if o.Names, err = parseNames(c.arg(2)); err == nil {
		o.FS, o.Size, err = c.base()
	}
	if err == nil {
		o.Limits, err = c.limits()
	}
	if err != nil {
		return err
	}
	return c.onImages(func(store *images.Store) (err error) {
		tar, err := c.openTar(c.arg(1))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, tar.Close()) }()
		tell, done := c.moving("importing %s", c.arg(1))
		defer done()
		o.Progress = func(read units.Bytes) { tell(int64(read)) }
		image, err := store.Import(c.ctx, tar, o)
		if err != nil {
			return err
		}
		done()
		return c.showImage(store, image)
	})
}

func (c *call) openTar(path string) (io.ReadCloser, error) {
	if path != "-" {
		return os.Open(path)
	}
	if c.keyboard {
		return nil, c.misuse("standard input is a terminal: name the tar")
	}
	return io.NopCloser(interruptible(c.ctx, c.in)), nil
}

package image

import (
	"errors"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/terminal"
	"thinctl/internal/images"
	"thinctl/units"
)

func importCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "import", Args: "POOL FILE [IMAGE]", Usage: "create an image from a tar of one file tree",
		About: "FILE is a tar, compressed or not, as `container export` writes it; - is standard input. Prints the " +
			"image's id.",
		Flags: append([]cli.Flag{content.ChangeFlag(), content.MessageFlag()}, layerFlags()...),
		Run:   importImage, Complete: (*command.Call).PoolNames, Long: true,
	})
}

func importImage(c *command.Call) error {
	o := images.ImportOptions{Message: c.Flags.String("message"), Changes: c.Texts("change"), Warn: c.Warn()}
	var err error
	if o.Names, err = command.ParseNames(c.Arg(2)); err == nil {
		o.FS, o.Size, err = base(c)
	}
	if err == nil {
		o.Limits, err = limits(c)
	}
	if err != nil {
		return err
	}
	return c.OnImages(func(store *images.Store) (err error) {
		tar, err := openTar(c, c.Arg(1))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, tar.Close()) }()
		moved, done := c.Moving("importing %s", c.Arg(1))
		defer done()
		o.Progress = func(read units.Bytes) { moved(int64(read)) }
		image, err := store.Import(c.Ctx, tar, o)
		if err != nil {
			return err
		}
		done()
		return content.ShowImage(c, store, image)
	})
}

func openTar(c *command.Call, path string) (io.ReadCloser, error) {
	if path != "-" {
		return os.Open(path)
	}
	if c.Keyboard {
		return nil, c.Misuse("standard input is a terminal: name a tar file")
	}
	return io.NopCloser(terminal.Interruptible(c.Ctx, c.In)), nil
}

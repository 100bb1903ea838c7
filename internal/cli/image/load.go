package image

import (
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/commandline"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/output"
	"thinctl/internal/cli/terminal"
	"thinctl/internal/images"
	"thinctl/internal/images/archive"
	"thinctl/internal/images/layertar"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

func loadCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "load", Args: "POOL", Usage: "load images from an archive",
		About: "The archive is the output of docker save or an OCI image layout: a tar, compressed or not, or a directory. " +
			"Without --input it is read from standard input. A load that fails keeps the complete layers, and the next " +
			"load continues from them. " +
			"A compressed archive or a pipe is copied to $TMPDIR, or to /var/tmp, for the time of the load.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "read this `FILE` or directory; - is standard input"},
			platformFlag(), command.QuietFlag("print only ids, no progress of layers"),
		}, layerFlags()...),
		Run: loadImages, Complete: (*command.Call).PoolNames, Long: true,
	})
}

func platformFlag() cli.Flag {
	return &cli.StringFlag{Name: "platform", DefaultText: "this host's",
		Usage: "choose this `OS/ARCH[/VARIANT]` if there are several"}
}

// layerFlags returns the flags of commands that create layers.
func layerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "fs", Value: string(filesystem.Ext4), Usage: "file system of a new base layer: ext4 or xfs"},
		&cli.StringFlag{Name: "size", DefaultText: "the pool's base size",
			Usage: "virtual `SIZE` of new layers; never below the size of their parent"},
		commandline.StringsFlag("limit", "", "change a limit on the input: `NAME=VALUE`, where NAME is one of "+
			strings.Join(layertar.LimitNames(), ", ")+"; may be repeated"),
	}
}

// limits parses --limit.
func limits(c *command.Call) (layertar.Limits, error) {
	var limits layertar.Limits
	for _, text := range c.Texts("limit") {
		name, value, found := strings.Cut(text, "=")
		if !found {
			return limits, &exit.UsageError{Why: fmt.Sprintf("--limit %q: the value is missing", text),
				Remedy: "write it as NAME=VALUE, such as bytes=2T"}
		}
		if err := limits.Set(name, value); err != nil {
			return limits, &exit.UsageError{Why: fmt.Sprintf("--limit %q: %v", text, err)}
		}
	}
	return limits, nil
}

// base returns the file system and size that the flags set for base layers.
func base(c *command.Call) (filesystem.Type, units.Bytes, error) {
	kind := filesystem.Type(c.Flags.String("fs"))
	if kind != "" && kind != filesystem.Ext4 && kind != filesystem.XFS {
		return "", 0, &exit.UsageError{Why: fmt.Sprintf("--fs %q: unknown file system", kind), Remedy: "use ext4 or xfs"}
	}
	size, err := c.SizeFlag("size")
	return kind, size, err
}

func platform(c *command.Call) (v1.Platform, error) {
	text := c.Flags.String("platform")
	if text == "" {
		return v1.Platform{}, nil
	}
	platform, err := v1.ParsePlatform(text)
	if err != nil || platform.OS == "" || platform.Architecture == "" {
		return v1.Platform{}, &exit.UsageError{Why: fmt.Sprintf("--platform %q: invalid platform", text),
			Remedy: "write it as linux/arm64 or linux/arm/v7"}
	}
	return *platform, nil
}

// tempDir returns a directory for large temporary files. /tmp is often in memory.
func tempDir(c *command.Call) string {
	if dir := c.Getenv("TMPDIR"); dir != "" {
		return dir
	}
	return "/var/tmp"
}

func loadImages(c *command.Call) error {
	o := images.LoadOptions{Warn: c.Warn()}
	platform, err := platform(c)
	if err == nil {
		o.FS, o.Size, err = base(c)
	}
	if err == nil {
		o.Limits, err = limits(c)
	}
	if err != nil {
		return err
	}
	return c.OnImages(func(store *images.Store) (err error) {
		file, err := openArchive(c, archive.Options{TempDir: tempDir(c), Platform: platform, Window: o.Limits.Window,
			Warn: c.Warn()})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		views := []content.ImageView{}
		var fault error
		for _, entry := range file.Images() {
			view, err := loadEntry(c, store, entry, o)
			if err != nil {
				fault = err
				break
			}
			views = append(views, view)
		}
		if fault != nil && len(views) == 0 {
			return fault
		}
		return errors.Join(fault, showLoaded(c, store, views))
	})
}

func openArchive(c *command.Call, o archive.Options) (*archive.Archive, error) {
	path := c.Flags.String("input")
	if path != "" && path != "-" {
		done := c.Progress("reading %s", path)
		defer done()
		return archive.Open(c.Ctx, path, o)
	}
	if c.Keyboard {
		return nil, c.Misuse("standard input is a terminal: name the archive with --input")
	}
	o.Name = "standard input"
	done := c.Progress("reading standard input")
	defer done()
	return archive.Read(c.Ctx, terminal.Interruptible(c.Ctx, c.In), o)
}

func loadEntry(c *command.Call, store *images.Store, entry archive.Entry, o images.LoadOptions) (content.ImageView,
	error) {
	var err error
	if o.Names, err = command.ParseNames(entry.Names...); err != nil {
		return content.ImageView{}, err
	}
	ids, err := images.ChainIDs(entry.Image)
	if err != nil {
		return content.ImageView{}, err
	}
	lines := c.LayerLines(ids)
	defer lines.Close()
	o.Progress = loading(lines, "Loading layer", "Loaded")
	image, err := store.Load(c.Ctx, entry.Image, o)
	if err != nil {
		return content.ImageView{}, err
	}
	return content.NewImageView(image), nil
}

// loading shows the progress of layers while they are applied.
func loading(l *terminal.Layers, doing, done string) func(images.Progress) {
	return func(p images.Progress) {
		switch p.State {
		case images.LayerExists:
			l.End(p.Layer, "Already exists")
		case images.LayerDone:
			l.End(p.Layer, done)
		default:
			l.Count(p.Layer, doing, int64(p.Read), int64(p.Total))
		}
	}
}

func showLoaded(c *command.Call, store *images.Store, views []content.ImageView) error {
	return c.Show(struct {
		output.PoolHead
		command.WarnedView
		Images []content.ImageView `json:"images"`
	}{command.HeadOf(store), c.Warned(), views}, func(w io.Writer) {
		for _, v := range views {
			switch {
			case c.Flags.Bool("quiet"):
				fmt.Fprintln(w, v.Full())
			case len(v.Names) == 0:
				fmt.Fprintf(w, "Loaded image ID: %s\n", v.Full())
			}
			for _, name := range v.Names {
				if !c.Flags.Bool("quiet") {
					fmt.Fprintf(w, "Loaded image: %s\n", name)
				}
			}
		}
	})
}

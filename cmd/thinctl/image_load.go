package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/internal/images/archive"
	"thinctl/internal/images/layertar"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

func (a *app) imageLoad() *cli.Command {
	return a.leaf(leaf{
		name: "load", args: "POOL", usage: "load images from an archive",
		about: "The archive is what docker save writes, or an OCI image layout: a tar, compressed or not, or a folder. " +
			"It is read from standard input where no file is named. A load that fails leaves whole layers, and the next one goes on from them. " +
			"What comes compressed as a whole or through a pipe is kept in $TMPDIR meanwhile, or in /var/tmp.",
		flags: append([]cli.Flag{
			&cli.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "`FILE` or folder to read; - for standard input"},
			platformFlag(), quietFlag("write only ids, and nothing of the layers"),
		}, layerFlags()...),
		run: (*call).loadImages, complete: (*call).poolNames, long: true,
	})
}

func platformFlag() cli.Flag {
	return &cli.StringFlag{Name: "platform", DefaultText: "this host's", Usage: "which to take where there are several: `OS/ARCH[/VARIANT]`"}
}

// layerFlags are about new layers.
func layerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "fs", Value: string(filesystem.Ext4), Usage: "file system of a new base layer: ext4 or xfs"},
		&cli.StringFlag{Name: "size", DefaultText: "the pool's base size", Usage: "virtual `SIZE` of new layers, if larger than that of the layers below"},
		stringsFlag("limit", "", "change a limit for what is read: `NAME=VALUE`, with the names "+strings.Join(layertar.LimitNames(), ", ")+"; may be repeated"),
	}
}

// limits reads --limit.
func (c *call) limits() (layertar.Limits, error) {
	var limits layertar.Limits
	for _, text := range c.texts("limit") {
		name, value, found := strings.Cut(text, "=")
		if !found {
			return limits, &usageError{why: fmt.Sprintf("--limit %q has no value", text), remedy: "write it as NAME=VALUE, such as bytes=2T"}
		}
		if err := limits.Set(name, value); err != nil {
			return limits, &usageError{why: fmt.Sprintf("--limit %q: %v", text, err)}
		}
	}
	return limits, nil
}

// base is what the flags say of new base layers.
func (c *call) base() (filesystem.Type, units.Bytes, error) {
	kind := filesystem.Type(c.flags.String("fs"))
	if kind != "" && kind != filesystem.Ext4 && kind != filesystem.XFS {
		return "", 0, &usageError{why: fmt.Sprintf("--fs %q is not known", kind), remedy: "use ext4 or xfs"}
	}
	size, err := c.sizeFlag("size")
	return kind, size, err
}

func (c *call) platform() (v1.Platform, error) {
	text := c.flags.String("platform")
	if text == "" {
		return v1.Platform{}, nil
	}
	platform, err := v1.ParsePlatform(text)
	if err != nil || platform.OS == "" || platform.Architecture == "" {
		return v1.Platform{}, &usageError{why: fmt.Sprintf("--platform %q is none", text), remedy: "write it as linux/arm64 or linux/arm/v7"}
	}
	return *platform, nil
}

// tempDir is where much can be kept for a while; /tmp is often memory.
func (c *call) tempDir() string {
	if dir := c.getenv("TMPDIR"); dir != "" {
		return dir
	}
	return "/var/tmp"
}

func (c *call) loadImages() error {
	o := images.LoadOptions{Warn: c.warn()}
	platform, err := c.platform()
	if err == nil {
		o.FS, o.Size, err = c.base()
	}
	if err == nil {
		o.Limits, err = c.limits()
	}
	if err != nil {
		return err
	}
	return c.onImages(func(store *images.Store) (err error) {
		file, err := c.openArchive(archive.Options{TempDir: c.tempDir(), Platform: platform, Window: o.Limits.Window, Warn: c.warn()})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		views := []imageView{}
		var fault error
		for _, entry := range file.Images() {
			view, err := c.loadEntry(store, entry, o)
			if err != nil {
				fault = err
				break
			}
			views = append(views, view)
		}
		if fault != nil && len(views) == 0 {
			return fault
		}
		return errors.Join(fault, c.showLoaded(store, views))
	})
}

func (c *call) openArchive(o archive.Options) (*archive.Archive, error) {
	path := c.flags.String("input")
	if path != "" && path != "-" {
		done := c.progress("reading %s", path)
		defer done()
		return archive.Open(c.ctx, path, o)
	}
	if c.keyboard {
		return nil, c.misuse("standard input is a terminal: name the archive with --input")
	}
	o.Name = "standard input"
	done := c.progress("reading standard input")
	defer done()
	return archive.Read(c.ctx, interruptible(c.ctx, c.in), o)
}

func (c *call) loadEntry(store *images.Store, entry archive.Entry, o images.LoadOptions) (imageView, error) {
	var err error
	if o.Names, err = parseNames(entry.Names...); err != nil {
		return imageView{}, err
	}
	ids, err := images.ChainIDs(entry.Image)
	if err != nil {
		return imageView{}, err
	}
	lines := c.layerLines(ids)
	defer lines.close()
	o.Progress = loading(lines, "Loading layer", "Loaded")
	image, err := store.Load(c.ctx, entry.Image, o)
	if err != nil {
		return imageView{}, err
	}
	return newImageView(image), nil
}

// loading tells of an image's layers as they are applied.
func loading(l *layerLines, doing, done string) func(images.Progress) {
	return func(p images.Progress) {
		switch p.State {
		case images.LayerExists:
			l.end(p.Layer, "Already exists")
		case images.LayerDone:
			l.end(p.Layer, done)
		default:
			l.count(p.Layer, doing, int64(p.Read), int64(p.Total))
		}
	}
}

func (c *call) showLoaded(store *images.Store, views []imageView) error {
	return c.show(struct {
		poolHead
		warnedView
		Images []imageView `json:"images"`
	}{headOf(store), c.warned(), views}, func(w io.Writer) {
		for _, v := range views {
			switch {
			case c.flags.Bool("quiet"):
				fmt.Fprintln(w, v.full())
			case len(v.Names) == 0:
				fmt.Fprintf(w, "Loaded image ID: %s\n", v.full())
			}
			for _, name := range v.Names {
				if !c.flags.Bool("quiet") {
					fmt.Fprintf(w, "Loaded image: %s\n", name)
				}
			}
		}
	})
}

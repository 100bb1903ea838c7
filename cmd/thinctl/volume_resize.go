package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/thinpool"
	"thinctl/units"
)

func (a *app) volumeResize() *cli.Command {
	return a.leaf(leaf{
		name: "resize", args: "POOL NAME SIZE", usage: "make a volume larger",
		about: "SIZE is the new size, or +SIZE for so much more. The file system grows along where it is mounted; a volume never shrinks.",
		flags: []cli.Flag{&cli.BoolFlag{Name: "no-fs", Usage: "leave the file system as it is"}},
		run:   (*call).resizeVolume, complete: (*call).volumeOnce,
	})
}

type resizeView struct {
	oneVolume
	From  units.Bytes `json:"from_bytes"`
	Grown string      `json:"file_system_grown_at,omitempty"`
}

func (c *call) resizeVolume() error {
	asked, err := parseTarget(c.arg(2))
	if err != nil {
		return err
	}
	name := c.arg(1)
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		before, err := pool.VolumeStatus(c.ctx, name)
		if err != nil {
			return err
		}
		if err := refuseKept("resize", pool, before.Volume); err != nil {
			return err
		}
		resize := pool.ResizeVolume
		if asked.more {
			resize = pool.GrowVolume
		}
		done := c.progress("resizing volume %s/%s", pool.Name(), name)
		defer done()
		volume, err := resize(c.ctx, name, asked.size)
		if err != nil {
			return err
		}
		view := resizeView{oneVolume: oneVolume{schema(), false, newVolumeView(pool.Name(), volume)}, From: before.Size}
		view.Grown, err = c.growFileSystem(volume)
		done()
		if err != nil {
			return errors.Join(failed(nil, "resize volume %s/%s: the volume has %s now, its file system does not; run the same again", pool.Name(), name, volume.Size), err)
		}
		return c.show(view, func(w io.Writer) {
			fmt.Fprintf(w, "volume %s/%s has %s, had %s%s\n", pool.Name(), name, volume.Size, view.From, grownAt(view.Grown))
		})
	})
}

func grownAt(path string) string {
	if path == "" {
		return ""
	}
	return "; its file system at " + path + " grew along"
}

// growFileSystem returns where the file system was grown, "" where it is not
// mounted for writing.
func (c *call) growFileSystem(volume thinpool.Volume) (string, error) {
	if !volume.Active || c.flags.Bool("no-fs") {
		return "", nil
	}
	mounts, err := c.files.Mounts(volume.Dev)
	if err != nil {
		return "", err
	}
	for _, mount := range mounts {
		if !mount.ReadOnly {
			return mount.Path, c.files.Grow(c.ctx, volume.Node, mount.Path)
		}
	}
	return "", nil
}

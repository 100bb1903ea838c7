package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/thinpool"
)

func (a *app) volumeActivate() *cli.Command {
	return a.leaf(leaf{
		name: "activate", args: "POOL NAME", usage: "make a volume's block device",
		run: (*call).activateVolume, complete: (*call).volumeOnce,
	})
}

func (a *app) volumeDeactivate() *cli.Command {
	return a.leaf(leaf{
		name: "deactivate", args: "POOL NAME", usage: "remove a volume's block device; the volume stays",
		run: (*call).deactivateVolume, complete: (*call).volumeOnce,
	})
}

func (c *call) activateVolume() error {
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		volume, err := pool.ActivateVolume(c.ctx, c.arg(1))
		if err != nil {
			return err
		}
		return c.show(oneVolume{schema(), false, newVolumeView(pool.Name(), volume)}, func(w io.Writer) { fmt.Fprintln(w, volume.Node) })
	})
}

func (c *call) deactivateVolume() error {
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		name := c.arg(1)
		if err := pool.DeactivateVolume(c.ctx, name); err != nil {
			return err
		}
		status, err := pool.VolumeStatus(c.ctx, name)
		if err != nil {
			return err
		}
		return c.show(oneVolume{schema(), false, newVolumeView(pool.Name(), status.Volume)}, func(w io.Writer) {
			fmt.Fprintf(w, "volume %s/%s is inactive\n", pool.Name(), name)
		})
	})
}

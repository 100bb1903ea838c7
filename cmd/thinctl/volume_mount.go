package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"thinctl/internal/contexts"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

func (a *app) volumeMount() *cli.Command {
	return a.leaf(leaf{
		name: "mount", args: "POOL NAME [DIR]", usage: "activate a volume and mount its file system",
		about: "DIR is mnt/NAME in the pool's folder where it is left out; any other must be there. Formats nothing.",
		flags: []cli.Flag{&cli.BoolFlag{Name: "read-only", Usage: "mount read-only"}},
		run:   (*call).mountVolume, complete: (*call).volumeOnce,
	})
}

func (a *app) volumeUnmount() *cli.Command {
	return a.leaf(leaf{
		name: "unmount", args: "POOL NAME", usage: "unmount a volume everywhere and deactivate it",
		about: "Only mounts of this mount namespace are unmounted; `volume status` shows the others.",
		run:   (*call).unmountVolume, complete: (*call).volumeOnce,
	})
}

type mountedView struct {
	oneVolume
	Dir      string `json:"dir"`
	ReadOnly bool   `json:"read_only"`
}

func (c *call) mountVolume() error {
	options := filesystem.MountOptions{ReadOnly: c.flags.Bool("read-only")}
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		name, dir := c.arg(1), c.arg(2)
		if dir == "" {
			dir, options.MakeTarget = filepath.Join(pool.MountsDir(), name), true
		}
		dir, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		before, err := pool.VolumeStatus(c.ctx, name)
		if err != nil {
			return err
		}
		done := c.progress("mounting volume %s/%s", pool.Name(), name)
		defer done()
		volume, err := pool.ActivateVolume(c.ctx, name)
		if err != nil {
			return err
		}
		if err := c.files.Mount(c.ctx, volume.Node, dir, options); err != nil {
			return errors.Join(err, c.deactivateAgain(pool, before.Volume))
		}
		done()
		view := mountedView{oneVolume{schema(), false, newVolumeView(pool.Name(), volume)}, dir, options.ReadOnly}
		return c.show(view, func(w io.Writer) { fmt.Fprintln(w, dir) })
	})
}

// deactivateAgain undoes an activation that led to nothing.
func (c *call) deactivateAgain(pool *thinpool.Pool, before thinpool.Volume) error {
	if before.Active {
		return nil
	}
	clean, cancel := contexts.Cleanup(c.ctx)
	defer cancel()
	return pool.DeactivateVolume(clean, before.Name)
}

type unmountedView struct {
	oneVolume
	Dirs []string `json:"unmounted"`
}

func (c *call) unmountVolume() error {
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		name := c.arg(1)
		status, err := pool.VolumeStatus(c.ctx, name)
		if err != nil {
			return err
		}
		var mounts []filesystem.MountPoint
		if status.Active {
			if mounts, err = c.files.Mounts(status.Dev); err != nil {
				return err
			}
		}
		if len(mounts) == 0 {
			return failed(nil, "unmount volume %s/%s: it is not mounted here; `thinctl volume status %s %s` shows where it is", pool.Name(), name, pool.Name(), name)
		}
		done := c.progress("unmounting volume %s/%s", pool.Name(), name)
		defer done()
		view := unmountedView{Dirs: []string{}}
		for _, mount := range slices.Backward(mounts) { // the newest lies on top
			if err := c.files.Unmount(c.ctx, mount.Path, filesystem.UnmountOptions{}); err != nil {
				return err
			}
			view.Dirs = append(view.Dirs, mount.Path)
		}
		if err := c.host.Disks.Remove(filepath.Join(pool.MountsDir(), name)); err != nil {
			c.logger.Warn("the mount point stays", "error", err)
		}
		// Another namespace or program may still have it: then it stays active.
		if err := pool.DeactivateVolume(c.ctx, name); err != nil && !errors.Is(err, thinpool.ErrBusy) {
			return err
		}
		if status, err = pool.VolumeStatus(c.ctx, name); err != nil {
			return err
		}
		done()
		view.oneVolume = oneVolume{schema(), false, newVolumeView(pool.Name(), status.Volume)}
		return c.show(view, func(w io.Writer) {
			for _, dir := range view.Dirs {
				fmt.Fprintf(w, "%s unmounted\n", dir)
			}
			if status.Active {
				fmt.Fprintf(w, "volume %s/%s stays active: `thinctl volume status %s %s` says who has it\n", pool.Name(), name, pool.Name(), name)
			}
		})
	})
}

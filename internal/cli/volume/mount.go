package volume

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/output"
	"thinctl/internal/contexts"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

func mountCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "mount", Args: "POOL NAME [DIR]", Usage: "activate a volume and mount its file system",
		About: "The default DIR is mnt/NAME in the pool's directory; any other DIR must exist. Formats nothing.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "read-only", Usage: "mount read-only"}},
		Run:   mountVolume, Complete: (*command.Call).VolumeOnce,
	})
}

func unmountCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "unmount", Args: "POOL NAME", Usage: "unmount a volume from all mount points and deactivate it",
		About: "Unmounts only in this mount namespace; `volume status` shows the others.",
		Run:   unmountVolume, Complete: (*command.Call).VolumeOnce,
	})
}

type mountedView struct {
	oneVolume
	Dir      string `json:"dir"`
	ReadOnly bool   `json:"read_only"`
}

func mountVolume(c *command.Call) error {
	options := filesystem.MountOptions{ReadOnly: c.Flags.Bool("read-only")}
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		name, dir := c.Arg(1), c.Arg(2)
		if dir == "" {
			dir, options.MakeTarget = filepath.Join(pool.MountsDir(), name), true
		}
		dir, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		before, err := pool.VolumeStatus(c.Ctx, name)
		if err != nil {
			return err
		}
		done := c.Progress("mounting volume %s/%s", pool.Name(), name)
		defer done()
		volume, err := pool.ActivateVolume(c.Ctx, name)
		if err != nil {
			return err
		}
		if err := c.Files.Mount(c.Ctx, volume.Node, dir, options); err != nil {
			return errors.Join(err, deactivateAgain(c, pool, before.Volume))
		}
		done()
		view := mountedView{oneVolume{output.Schema(), false, newVolumeView(pool.Name(), volume)}, dir, options.ReadOnly}
		return c.Show(view, func(w io.Writer) { fmt.Fprintln(w, dir) })
	})
}

// deactivateAgain undoes an activation after a failed mount.
func deactivateAgain(c *command.Call, pool *thinpool.Pool, before thinpool.Volume) error {
	if before.Active {
		return nil
	}
	clean, cancel := contexts.Cleanup(c.Ctx)
	defer cancel()
	return pool.DeactivateVolume(clean, before.Name)
}

type unmountedView struct {
	oneVolume
	Dirs []string `json:"unmounted"`
}

func unmountVolume(c *command.Call) error {
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		name := c.Arg(1)
		status, err := pool.VolumeStatus(c.Ctx, name)
		if err != nil {
			return err
		}
		var mounts []filesystem.MountPoint
		if status.Active {
			if mounts, err = c.Files.Mounts(status.Dev); err != nil {
				return err
			}
		}
		if len(mounts) == 0 {
			return exit.Errorf(nil, "unmount volume %s/%s: not mounted in this mount namespace; `thinctl volume status %s "+
				"%s` lists its users", pool.Name(), name, pool.Name(), name)
		}
		done := c.Progress("unmounting volume %s/%s", pool.Name(), name)
		defer done()
		view := unmountedView{Dirs: []string{}}
		for _, mount := range slices.Backward(mounts) { // the newest is on top
			if err := c.Files.Unmount(c.Ctx, mount.Path, filesystem.UnmountOptions{}); err != nil {
				return err
			}
			view.Dirs = append(view.Dirs, mount.Path)
		}
		if err := c.Host.Disks.Remove(filepath.Join(pool.MountsDir(), name)); err != nil {
			c.Logger.Warn("the mount point was not removed", "error", err)
		}
		// Another mount namespace or program may still use it. It stays active then.
		if err := pool.DeactivateVolume(c.Ctx, name); err != nil && !errors.Is(err, thinpool.ErrOpen) {
			return err
		}
		if status, err = pool.VolumeStatus(c.Ctx, name); err != nil {
			return err
		}
		done()
		view.oneVolume = oneVolume{output.Schema(), false, newVolumeView(pool.Name(), status.Volume)}
		return c.Show(view, func(w io.Writer) {
			for _, dir := range view.Dirs {
				fmt.Fprintf(w, "%s unmounted\n", dir)
			}
			if status.Active {
				fmt.Fprintf(w, "volume %s/%s stays active: `thinctl volume status %s %s` lists its users\n", pool.Name(), name,
					pool.Name(), name)
			}
		})
	})
}

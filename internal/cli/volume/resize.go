package volume

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/output"
	"thinctl/thinpool"
	"thinctl/units"
)

func resizeCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "resize", Args: "POOL NAME SIZE", Usage: "make a volume larger",
		About: "SIZE is the new size, or +SIZE to add that much. The file system grows with the volume if it is " +
			"mounted. A volume never shrinks.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "no-fs", Usage: "do not grow the file system"}},
		Run:   resizeVolume, Complete: (*command.Call).VolumeOnce,
	})
}

type resizeView struct {
	oneVolume
	From  units.Bytes `json:"from_bytes"`
	Grown string      `json:"file_system_grown_at,omitempty"`
}

func resizeVolume(c *command.Call) error {
	asked, err := command.ParseGrowth(c.Arg(2))
	if err != nil {
		return err
	}
	name := c.Arg(1)
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		before, err := pool.VolumeStatus(c.Ctx, name)
		if err != nil {
			return err
		}
		if err := refuseOwned("resize", pool, before.Volume); err != nil {
			return err
		}
		resize := pool.ResizeVolume
		if asked.More {
			resize = pool.GrowVolume
		}
		done := c.Progress("resizing volume %s/%s", pool.Name(), name)
		defer done()
		volume, err := resize(c.Ctx, name, asked.Size)
		if err != nil {
			return err
		}
		view := resizeView{oneVolume: oneVolume{output.Schema(), false, newVolumeView(pool.Name(), volume)},
			From: before.Size}
		view.Grown, err = growFileSystem(c, volume)
		done()
		if err != nil {
			return errors.Join(exit.Errorf(nil, "resize volume %s/%s: the volume has %s now, but its file system did not "+
				"grow; run the command again", pool.Name(), name, volume.Size), err)
		}
		return c.Show(view, func(w io.Writer) {
			fmt.Fprintf(w, "volume %s/%s has %s now, was %s%s\n", pool.Name(), name, volume.Size, view.From, grownAt(view.Grown))
		})
	})
}

func grownAt(path string) string {
	if path == "" {
		return ""
	}
	return "; its file system at " + path + " has grown, too"
}

// growFileSystem grows the file system and returns its mount point, "" if it is not mounted
// read-write.
func growFileSystem(c *command.Call, volume thinpool.Volume) (string, error) {
	if !volume.Active || c.Flags.Bool("no-fs") {
		return "", nil
	}
	mounts, err := c.Files.Mounts(volume.Dev)
	if err != nil {
		return "", err
	}
	for _, mount := range mounts {
		if !mount.ReadOnly {
			return mount.Path, c.Files.Grow(c.Ctx, volume.Node, mount.Path)
		}
	}
	return "", nil
}

package volume

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/thinpool"
)

func activateCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "activate", Args: "POOL NAME", Usage: "create the block device of a volume",
		Run: activateVolume, Complete: (*command.Call).VolumeOnce,
	})
}

func deactivateCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "deactivate", Args: "POOL NAME", Usage: "remove the block device of a volume, keep the volume",
		Run: deactivateVolume, Complete: (*command.Call).VolumeOnce,
	})
}

func activateVolume(c *command.Call) error {
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		volume, err := pool.ActivateVolume(c.Ctx, c.Arg(1))
		if err != nil {
			return err
		}
		return c.Show(oneVolume{output.Schema(), false, newVolumeView(pool.Name(), volume)},
			func(w io.Writer) { fmt.Fprintln(w, volume.Node) })
	})
}

func deactivateVolume(c *command.Call) error {
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		name := c.Arg(1)
		if err := pool.DeactivateVolume(c.Ctx, name); err != nil {
			return err
		}
		status, err := pool.VolumeStatus(c.Ctx, name)
		if err != nil {
			return err
		}
		return c.Show(oneVolume{output.Schema(), false, newVolumeView(pool.Name(), status.Volume)}, func(w io.Writer) {
			fmt.Fprintf(w, "volume %s/%s is inactive\n", pool.Name(), name)
		})
	})
}

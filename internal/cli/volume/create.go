package volume

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/fault"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/output"
	"thinctl/internal/contexts"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

func createCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "create", Args: "POOL NAME", Usage: "create an empty volume",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "size", DefaultText: "the pool's base size", Usage: "virtual `SIZE`"},
			&cli.StringFlag{Name: "fs", Usage: "format it with a file system of this `TYPE`: ext4 or xfs"},
			command.DryRunFlag(),
		},
		Run: createVolume, Complete: (*command.Call).PoolNames,
	})
}

func snapshotCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "snapshot", Args: "POOL ORIGIN NAME", Usage: "create a snapshot of a volume",
		About: "An active origin is suspended for a moment, with its file system frozen. The snapshot shares the " +
			"blocks of the origin.",
		Flags: []cli.Flag{&cli.StringFlag{Name: "size", DefaultText: "the origin's",
			Usage: "virtual `SIZE`, at least the origin's"}},
		Run: snapshotVolume, Complete: (*command.Call).VolumeOnce,
	})
}

type createdView struct {
	oneVolume
	FileSystem string `json:"file_system,omitempty"`
}

func createVolume(c *command.Call) error {
	bytes, err := c.SizeFlag("size")
	kind := filesystem.Type(c.Flags.String("fs"))
	if kind != "" && kind != filesystem.Ext4 && kind != filesystem.XFS {
		err = errors.Join(err, &exit.UsageError{Why: fmt.Sprintf("--fs %q: unknown file system", kind),
			Remedy: "use ext4 or xfs"})
	}
	if err != nil {
		return err
	}
	name := c.Arg(1)
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		if c.Flags.Bool("dry-run") {
			return planVolume(c, pool, name, bytes, kind)
		}
		volume, err := pool.CreateVolume(c.Ctx, name, thinpool.VolumeOptions{Size: bytes})
		if err != nil {
			return err
		}
		if kind != "" {
			done := c.Progress("formatting volume %s/%s with %s", pool.Name(), name, kind)
			err := formatVolume(c, pool, name, kind)
			done()
			if err != nil {
				return err
			}
		}
		view := createdView{oneVolume{output.Schema(), false, newVolumeView(pool.Name(), volume)}, string(kind)}
		return c.Show(view, func(w io.Writer) {
			fmt.Fprintf(w, "volume %s/%s created, %s%s\n", pool.Name(), name, volume.Size, with(kind))
		})
	})
}

func with(kind filesystem.Type) string {
	if kind == "" {
		return ""
	}
	return " with " + string(kind)
}

// formatVolume formats a new volume and leaves it inactive. If that fails it removes the volume,
// because an empty volume was not asked for.
func formatVolume(c *command.Call, pool *thinpool.Pool, name string, kind filesystem.Type) error {
	volume, err := pool.ActivateVolume(c.Ctx, name)
	if err == nil {
		err = c.Files.Format(c.Ctx, volume.Node, filesystem.FormatOptions{Type: kind})
	}
	if err == nil {
		err = pool.DeactivateVolume(c.Ctx, name)
	}
	if err == nil {
		return nil
	}
	clean, cancel := contexts.Cleanup(c.Ctx)
	defer cancel()
	_, undo := pool.RemoveVolume(clean, name, thinpool.RemoveOptions{})
	return errors.Join(err, undo)
}

func planVolume(c *command.Call, pool *thinpool.Pool, name string, bytes units.Bytes, kind filesystem.Type) error {
	if err := thinpool.CheckVolumeName(name); err != nil {
		return err
	}
	record, err := pool.Record(c.Ctx)
	if err != nil {
		return err
	}
	_, err = pool.VolumeStatus(c.Ctx, name)
	if err == nil {
		return exit.Errorf(fault.Exists, "create volume %s/%s: exists already; choose another name or remove it "+
			"first", pool.Name(), name)
	}
	if !errors.Is(err, thinpool.ErrNoVolume) {
		return err
	}
	if bytes == 0 {
		bytes = record.BaseSize
	}
	view := createdView{oneVolume{output.Schema(), true, volumeView{Pool: pool.Name(), Name: name, SizeBytes: bytes}},
		string(kind)}
	return c.Show(view, func(w io.Writer) {
		fmt.Fprintf(w, "would create volume %s/%s, %s%s\n", pool.Name(), name, bytes, with(kind))
	})
}

func snapshotVolume(c *command.Call) error {
	bytes, err := c.SizeFlag("size")
	if err != nil {
		return err
	}
	origin, name := c.Arg(1), c.Arg(2)
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		done := c.Progress("taking a snapshot of volume %s/%s", pool.Name(), origin)
		volume, err := pool.Snapshot(c.Ctx, origin, name, thinpool.SnapshotOptions{Size: bytes})
		done()
		if err != nil {
			return err
		}
		return c.Show(oneVolume{output.Schema(), false, newVolumeView(pool.Name(), volume)}, func(w io.Writer) {
			fmt.Fprintf(w, "volume %s/%s created, %s, a snapshot of %s\n", pool.Name(), name, volume.Size, origin)
		})
	})
}

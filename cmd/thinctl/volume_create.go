package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/contexts"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

func (a *app) volumeCreate() *cli.Command {
	return a.leaf(leaf{
		name: "create", args: "POOL NAME", usage: "make an empty volume",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "size", DefaultText: "the pool's base size", Usage: "virtual `SIZE`"},
			&cli.StringFlag{Name: "fs", Usage: "make a file system of this `TYPE` on it: ext4 or xfs"},
			dryRunFlag(),
		},
		run: (*call).createVolume, complete: (*call).poolNames,
	})
}

func (a *app) volumeSnapshot() *cli.Command {
	return a.leaf(leaf{
		name: "snapshot", args: "POOL ORIGIN NAME", usage: "make a volume that begins as another's copy",
		about: "An active origin stands still for the moment, with its file system frozen. The snapshot shares its blocks.",
		flags: []cli.Flag{&cli.StringFlag{Name: "size", DefaultText: "the origin's", Usage: "virtual `SIZE`, not below the origin's"}},
		run:   (*call).snapshotVolume, complete: (*call).volumeOnce,
	})
}

type createdView struct {
	oneVolume
	FileSystem string `json:"file_system,omitempty"`
}

func (c *call) createVolume() error {
	bytes, err := c.sizeFlag("size")
	kind := filesystem.Type(c.flags.String("fs"))
	if kind != "" && kind != filesystem.Ext4 && kind != filesystem.XFS {
		err = errors.Join(err, &usageError{why: fmt.Sprintf("--fs %q is not known", kind), remedy: "use ext4 or xfs"})
	}
	if err != nil {
		return err
	}
	name := c.arg(1)
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		if c.flags.Bool("dry-run") {
			return c.planVolume(pool, name, bytes, kind)
		}
		volume, err := pool.CreateVolume(c.ctx, name, thinpool.VolumeOptions{Size: bytes})
		if err != nil {
			return err
		}
		if kind != "" {
			done := c.progress("making %s on volume %s/%s", kind, pool.Name(), name)
			err := c.formatVolume(pool, name, kind)
			done()
			if err != nil {
				return err
			}
		}
		view := createdView{oneVolume{schema(), false, newVolumeView(pool.Name(), volume)}, string(kind)}
		return c.show(view, func(w io.Writer) {
			fmt.Fprintf(w, "volume %s/%s made, %s%s\n", pool.Name(), name, volume.Size, with(kind))
		})
	})
}

func with(kind filesystem.Type) string {
	if kind == "" {
		return ""
	}
	return " with " + string(kind)
}

// formatVolume leaves the volume inactive, as it is without a file system, or
// removes it again: nobody asked for an empty one.
func (c *call) formatVolume(pool *thinpool.Pool, name string, kind filesystem.Type) error {
	volume, err := pool.ActivateVolume(c.ctx, name)
	if err == nil {
		err = c.files.Format(c.ctx, volume.Node, filesystem.FormatOptions{Type: kind})
	}
	if err == nil {
		err = pool.DeactivateVolume(c.ctx, name)
	}
	if err == nil {
		return nil
	}
	clean, cancel := contexts.Cleanup(c.ctx)
	defer cancel()
	_, undo := pool.RemoveVolume(clean, name, thinpool.RemoveOptions{})
	return errors.Join(err, undo)
}

func (c *call) planVolume(pool *thinpool.Pool, name string, bytes units.Bytes, kind filesystem.Type) error {
	if err := thinpool.CheckVolumeName(name); err != nil {
		return err
	}
	record, err := pool.Record(c.ctx)
	if err != nil {
		return err
	}
	_, err = pool.VolumeStatus(c.ctx, name)
	if err == nil {
		return failed(thinpool.ErrExists, "create volume %s/%s: exists already; choose another name or remove it first", pool.Name(), name)
	}
	if !errors.Is(err, thinpool.ErrNotFound) {
		return err
	}
	if bytes == 0 {
		bytes = record.BaseSize
	}
	view := createdView{oneVolume{schema(), true, volumeView{Pool: pool.Name(), Name: name, SizeBytes: bytes}}, string(kind)}
	return c.show(view, func(w io.Writer) {
		fmt.Fprintf(w, "would make volume %s/%s, %s%s\n", pool.Name(), name, bytes, with(kind))
	})
}

func (c *call) snapshotVolume() error {
	bytes, err := c.sizeFlag("size")
	if err != nil {
		return err
	}
	origin, name := c.arg(1), c.arg(2)
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		done := c.progress("taking a snapshot of volume %s/%s", pool.Name(), origin)
		volume, err := pool.Snapshot(c.ctx, origin, name, thinpool.SnapshotOptions{Size: bytes})
		done()
		if err != nil {
			return err
		}
		return c.show(oneVolume{schema(), false, newVolumeView(pool.Name(), volume)}, func(w io.Writer) {
			fmt.Fprintf(w, "volume %s/%s made, %s, a snapshot of %s\n", pool.Name(), name, volume.Size, origin)
		})
	})
}

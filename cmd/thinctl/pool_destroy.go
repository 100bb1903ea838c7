package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/thinpool"
)

func (a *app) poolDestroy() *cli.Command {
	return a.leaf(leaf{
		name: "destroy", args: "NAME", usage: "remove a pool with all its volumes",
		about: "Asks for the pool's name on a terminal; without one it needs --yes. Nothing may use the pool.",
		flags: []cli.Flag{yesFlag(), dryRunFlag()},
		run:   (*call).destroyPool, complete: (*call).poolNames,
	})
}

type destroyView struct {
	envelope
	DryRun  bool         `json:"dry_run"`
	Pool    string       `json:"pool"`
	UUID    string       `json:"uuid"`
	Dir     string       `json:"dir"`
	Volumes []string     `json:"volumes"`
	InUse   []string     `json:"in_use"`
	Wiped   *backingView `json:"wiped_device"`
}

func (c *call) destroyPool() error {
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		view, err := c.planDestroy(pool)
		if err != nil {
			return err
		}
		if view.DryRun {
			return c.show(view, view.write)
		}
		if err := c.confirm(fmt.Sprintf("This destroys pool %s with %s and all their data.", pool.Name(), plural(len(view.Volumes), "volume")), pool.Name()); err != nil {
			return err
		}
		done := c.progress("destroying pool %s", pool.Name())
		err = pool.Destroy(c.ctx)
		done()
		if err != nil {
			return err
		}
		return c.show(view, view.write)
	})
}

// planDestroy says what would go, and who stands in the way.
func (c *call) planDestroy(pool *thinpool.Pool) (destroyView, error) {
	view := destroyView{envelope: schema(), DryRun: c.flags.Bool("dry-run"), Pool: pool.Name(), UUID: pool.UUID(), Dir: pool.Dir(),
		Volumes: []string{}, InUse: []string{}}
	record, err := pool.Record(c.ctx)
	if err != nil {
		return view, err
	}
	if !record.Metadata.Loop {
		wiped := newBackingView(pool.Dir(), record.Metadata)
		view.Wiped = &wiped
	}
	volumes, err := pool.Volumes(c.ctx)
	if err != nil {
		return view, err
	}
	for _, volume := range volumes {
		view.Volumes = append(view.Volumes, volume.Name)
		if !volume.Active {
			continue
		}
		status, err := pool.VolumeStatus(c.ctx, volume.Name)
		if err != nil {
			return view, err
		}
		if status.Open > 0 {
			view.InUse = append(view.InUse, volume.Name)
		}
	}
	return view, nil
}

func (v destroyView) write(w io.Writer) {
	if !v.DryRun {
		fmt.Fprintf(w, "pool %s destroyed\n", v.Pool)
		return
	}
	fmt.Fprintf(w, "would destroy pool %s:\n", v.Pool)
	fact(w, "Folder", v.Dir)
	fact(w, "UUID", v.UUID)
	if v.Wiped != nil {
		fact(w, "Wiped", "the first block of "+v.Wiped.Path)
	}
	fact(w, "Volumes", len(v.Volumes))
	for _, name := range v.Volumes {
		fmt.Fprintf(w, "  %s\n", name)
	}
	for _, name := range v.InUse {
		fmt.Fprintf(w, "in the way: volume %s is in use; `thinctl volume status %s %s` says by whom\n", name, v.Pool, name)
	}
}

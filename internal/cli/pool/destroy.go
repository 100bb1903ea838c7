package pool

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/thinpool"
)

func destroyCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "destroy", Args: "NAME", Usage: "remove a pool with all its volumes",
		About: "Asks for the name of the pool on a terminal; without a terminal it needs --yes. The pool must not be in use.",
		Flags: []cli.Flag{command.YesFlag(), command.DryRunFlag()},
		Run:   destroyPool, Complete: (*command.Call).PoolNames,
	})
}

type destroyView struct {
	output.Envelope
	DryRun  bool         `json:"dry_run"`
	Pool    string       `json:"pool"`
	UUID    string       `json:"uuid"`
	Dir     string       `json:"dir"`
	Volumes []string     `json:"volumes"`
	InUse   []string     `json:"in_use"`
	Wiped   *backingView `json:"wiped_device"`
}

func destroyPool(c *command.Call) error {
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		view, err := planDestroy(c, pool)
		if err != nil {
			return err
		}
		if view.DryRun {
			return c.Show(view, view.write)
		}
		if err := c.Confirm(fmt.Sprintf("This destroys pool %s with %s and all their data.", pool.Name(),
			output.Plural(len(view.Volumes), "volume")), pool.Name()); err != nil {
			return err
		}
		done := c.Progress("destroying pool %s", pool.Name())
		err = pool.Destroy(c.Ctx)
		done()
		if err != nil {
			return err
		}
		return c.Show(view, view.write)
	})
}

// planDestroy lists what would be removed and which volumes are in use.
func planDestroy(c *command.Call, pool *thinpool.Pool) (destroyView, error) {
	view := destroyView{Envelope: output.Schema(), DryRun: c.Flags.Bool("dry-run"), Pool: pool.Name(),
		UUID: pool.UUID(), Dir: pool.Dir(),
		Volumes: []string{}, InUse: []string{}}
	record, err := pool.Record(c.Ctx)
	if err != nil {
		return view, err
	}
	if !record.Metadata.Loop {
		wiped := newBackingView(pool.Dir(), record.Metadata)
		view.Wiped = &wiped
	}
	volumes, err := pool.Volumes(c.Ctx)
	if err != nil {
		return view, err
	}
	for _, volume := range volumes {
		view.Volumes = append(view.Volumes, volume.Name)
		if !volume.Active {
			continue
		}
		status, err := pool.VolumeStatus(c.Ctx, volume.Name)
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
	output.Field(w, "Directory", v.Dir)
	output.Field(w, "UUID", v.UUID)
	if v.Wiped != nil {
		output.Field(w, "Wiped", "the first block of "+v.Wiped.Path)
	}
	output.Field(w, "Volumes", len(v.Volumes))
	for _, name := range v.Volumes {
		fmt.Fprintf(w, "  %s\n", name)
	}
	for _, name := range v.InUse {
		fmt.Fprintf(w, "blocked: volume %s is in use; `thinctl volume status %s %s` lists its users\n", name, v.Pool, name)
	}
}

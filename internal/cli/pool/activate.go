package pool

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/thinpool"
)

func activateCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "activate", Args: "[NAME]", Usage: "activate a pool, for example after a reboot",
		About: "Finishes or undoes what a killed process left. Volumes are activated when they are needed. Disks are " +
			"found by their identity, under any name; a disk that does not belong to the pool is refused.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "activate every pool that was not deactivated by a user"},
			&cli.StringSliceFlag{Name: "accept", TakesFile: true,
				Usage: "use the disk or file at `PATH` although another is expected; it must hold this pool's data or " +
					"metadata; may be repeated"}},
		Run: activatePools, Complete: (*command.Call).PoolNames,
	})
}

func deactivateCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "deactivate", Args: "NAME", Usage: "remove the devices of a pool from the kernel, keep the pool",
		Run: deactivatePool, Complete: (*command.Call).PoolNames,
	})
}

type activationView struct {
	output.Envelope
	Pools []activatedView `json:"pools"`
}

type activatedView struct {
	Name   string `json:"name"`
	Active bool   `json:"active"`
	Note   string `json:"note,omitempty"`
}

func activatePools(c *command.Call) error {
	all := c.Flags.Bool("all")
	if all == (c.Arg(0) != "") {
		return c.Misuse("name a pool or use --all, not both")
	}
	accept := c.Flags.StringSlice("accept")
	if all && len(accept) > 0 {
		return c.Misuse("--accept works on one pool: name it")
	}
	pools := []activatedView{}
	fault := c.OnPools(c.Arg(0), func(pool *thinpool.Pool) error {
		one := activatedView{Name: pool.Name()}
		if all {
			record, err := pool.Record(c.Ctx)
			if err != nil {
				return err
			}
			if !record.Activated {
				one.Note = "stays inactive: a user deactivated it"
				pools = append(pools, one)
				return nil
			}
		}
		done := c.Progress("activating pool %s", pool.Name())
		err := pool.ActivateWith(c.Ctx, thinpool.ActivateOptions{Accept: accept})
		if err == nil {
			err = c.Images(pool).Recover(c.Ctx)
		}
		done()
		if err == nil {
			one.Active = true
			pools = append(pools, one)
		}
		return err
	})
	return showActivation(c, pools, fault)
}

func deactivatePool(c *command.Call) error {
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		done := c.Progress("deactivating pool %s", pool.Name())
		err := pool.Deactivate(c.Ctx)
		done()
		if err != nil {
			return err
		}
		return showActivation(c, []activatedView{{Name: pool.Name()}}, nil)
	})
}

func showActivation(c *command.Call, pools []activatedView, fault error) error {
	if fault != nil && len(pools) == 0 {
		return fault
	}
	return errors.Join(fault, c.Show(activationView{output.Schema(), pools}, func(w io.Writer) {
		for _, pool := range pools {
			switch {
			case pool.Note != "":
				fmt.Fprintf(w, "pool %s %s\n", pool.Name, pool.Note)
			case pool.Active:
				fmt.Fprintf(w, "pool %s is active\n", pool.Name)
			default:
				fmt.Fprintf(w, "pool %s is inactive\n", pool.Name)
			}
		}
	}))
}

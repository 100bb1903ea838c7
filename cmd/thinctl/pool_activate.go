package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/thinpool"
)

func (a *app) poolActivate() *cli.Command {
	return a.leaf(leaf{
		name: "activate", args: "[NAME]", usage: "make a pool's device, as after a reboot",
		about: "Finishes or undoes what a killed process left. Volumes are activated when they are asked for. Disks are found by their identity, under whatever name; a disk that is not the pool's is refused.",
		flags: []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "every pool that was not deactivated by hand"},
			&cli.StringSliceFlag{Name: "accept", TakesFile: true,
				Usage: "use the disk or file at `PATH` although another is expected; it must hold this pool's data or metadata (repeatable)"}},
		run: (*call).activatePools, complete: (*call).poolNames,
	})
}

func (a *app) poolDeactivate() *cli.Command {
	return a.leaf(leaf{
		name: "deactivate", args: "NAME", usage: "remove a pool's devices from the kernel; the pool stays",
		run: (*call).deactivatePool, complete: (*call).poolNames,
	})
}

type activationView struct {
	envelope
	Pools []activatedView `json:"pools"`
}

type activatedView struct {
	Name   string `json:"name"`
	Active bool   `json:"active"`
	Note   string `json:"note,omitempty"`
}

func (c *call) activatePools() error {
	all := c.flags.Bool("all")
	if all == (c.arg(0) != "") {
		return c.misuse("give a pool's NAME or --all, one of the two")
	}
	accept := c.flags.StringSlice("accept")
	if all && len(accept) > 0 {
		return c.misuse("--accept is for one pool: give its NAME")
	}
	pools := []activatedView{}
	fault := c.onPools(c.arg(0), func(pool *thinpool.Pool) error {
		one := activatedView{Name: pool.Name()}
		if all {
			record, err := pool.Record(c.ctx)
			if err != nil {
				return err
			}
			if !record.Activated {
				one.Note = "left as it is: it was deactivated by hand"
				pools = append(pools, one)
				return nil
			}
		}
		done := c.progress("activating pool %s", pool.Name())
		err := pool.ActivateWith(c.ctx, thinpool.ActivateOptions{Accept: accept})
		if err == nil {
			err = c.contents(pool).Recover(c.ctx)
		}
		done()
		if err == nil {
			one.Active = true
			pools = append(pools, one)
		}
		return err
	})
	return c.showActivation(pools, fault)
}

func (c *call) deactivatePool() error {
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		done := c.progress("deactivating pool %s", pool.Name())
		err := pool.Deactivate(c.ctx)
		done()
		if err != nil {
			return err
		}
		return c.showActivation([]activatedView{{Name: pool.Name()}}, nil)
	})
}

func (c *call) showActivation(pools []activatedView, fault error) error {
	if fault != nil && len(pools) == 0 {
		return fault
	}
	return errors.Join(fault, c.show(activationView{schema(), pools}, func(w io.Writer) {
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

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/thinpool"
	"thinctl/units"
)

func (a *app) volumeRemove() *cli.Command {
	return a.leaf(leaf{
		name: "remove", args: "POOL NAME...", usage: "delete volumes, and give back their blocks",
		about: "Works where the pool or the host is full. Snapshots of a removed volume stay whole.",
		flags: []cli.Flag{
			&cli.BoolFlag{Name: "deferred", Usage: "take a volume away that is in use: its blocks come back when its users are gone"},
			yesFlag(), dryRunFlag(),
		},
		run: (*call).removeVolumes, complete: (*call).volumeNames,
	})
}

type removalsView struct {
	envelope
	DryRun  bool          `json:"dry_run"`
	Pool    string        `json:"pool"`
	Volumes []removalView `json:"volumes"`
}

type removalView struct {
	Name      string      `json:"name"`
	ID        uint32      `json:"id"`
	SizeBytes units.Bytes `json:"size_bytes"`
	Open      int         `json:"open_count"`
	Reaped    bool        `json:"blocks_given_back"`
}

func (c *call) removeVolumes() error {
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		names := c.args[1:]
		view := removalsView{envelope: schema(), DryRun: c.flags.Bool("dry-run"), Pool: pool.Name(), Volumes: []removalView{}}
		// One wrong name, and none is removed.
		plan, err := c.planRemovals(pool, names)
		if err != nil {
			return err
		}
		if view.DryRun {
			view.Volumes = plan
			return c.show(view, func(w io.Writer) {
				for _, v := range plan {
					fmt.Fprintf(w, "would remove volume %s/%s, %s%s\n", view.Pool, v.Name, v.SizeBytes, c.inTheWay(v))
				}
			})
		}
		what := fmt.Sprintf("%s of pool %s with all their data: %s.", plural(len(plan), "volume"), pool.Name(), strings.Join(names, ", "))
		if err := c.confirm("This removes "+what, "yes"); err != nil {
			return err
		}
		var fault error
		view.Volumes, fault = c.remove(pool, plan)
		if fault != nil && len(view.Volumes) == 0 {
			return fault
		}
		return errors.Join(fault, c.show(view, func(w io.Writer) {
			for _, v := range view.Volumes {
				note := ""
				if !v.Reaped {
					note = "; its blocks come back when its users are gone"
				}
				fmt.Fprintf(w, "volume %s/%s removed%s\n", view.Pool, v.Name, note)
			}
		}))
	})
}

func (c *call) planRemovals(pool *thinpool.Pool, names []string) ([]removalView, error) {
	var plan []removalView
	var faults []error
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] {
			continue
		}
		seen[name] = true
		status, err := pool.VolumeStatus(c.ctx, name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if err := refuseKept("remove", pool, status.Volume); err != nil {
			faults = append(faults, err)
			continue
		}
		plan = append(plan, removalView{Name: name, ID: status.ID, SizeBytes: status.Size, Open: status.Open})
	}
	return plan, errors.Join(faults...)
}

// refuseKept refuses what would go on behind the back of layers and containers.
func refuseKept(op string, pool *thinpool.Pool, v thinpool.Volume) error {
	if v.For == "" {
		return nil
	}
	return failed(thinpool.ErrInvalid, "%s volume %s/%s: it is kept for a %s; use the `thinctl layer`, `container` and `image` commands", op, pool.Name(), v.Name, v.For)
}

func (c *call) inTheWay(v removalView) string {
	switch {
	case v.Open == 0:
		return ""
	case c.flags.Bool("deferred"):
		return "; it is in use, its blocks would come back later"
	}
	return "; in the way: it is in use, `thinctl volume status` says by whom"
}

// remove goes on after a volume that cannot be removed.
func (c *call) remove(pool *thinpool.Pool, plan []removalView) ([]removalView, error) {
	removed := []removalView{}
	var faults []error
	for _, v := range plan {
		done := c.progress("removing volume %s/%s", pool.Name(), v.Name)
		removal, err := pool.RemoveVolume(c.ctx, v.Name, thinpool.RemoveOptions{Deferred: c.flags.Bool("deferred")})
		done()
		if err != nil {
			faults = append(faults, err)
			continue
		}
		v.Reaped = removal.Reaped
		removed = append(removed, v)
	}
	return removed, errors.Join(faults...)
}

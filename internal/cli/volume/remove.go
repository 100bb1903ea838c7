package volume

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/fault"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/output"
	"thinctl/thinpool"
	"thinctl/units"
)

func removeCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "remove", Args: "POOL NAME...", Usage: "delete volumes and free their blocks",
		About: "Works also when the pool or the host is full. Snapshots of a removed volume stay complete.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "deferred", Usage: "also remove a volume that is in use; its blocks are freed after the " +
				"last close"},
			command.YesFlag(), command.DryRunFlag(),
		},
		Run: removeVolumes, Complete: (*command.Call).VolumeNames,
	})
}

type removalsView struct {
	output.Envelope
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

func removeVolumes(c *command.Call) error {
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		names := c.Args[1:]
		view := removalsView{Envelope: output.Schema(), DryRun: c.Flags.Bool("dry-run"), Pool: pool.Name(),
			Volumes: []removalView{}}
		// If one name is wrong, no volume is removed.
		plan, err := planRemovals(c, pool, names)
		if err != nil {
			return err
		}
		if view.DryRun {
			view.Volumes = plan
			return c.Show(view, func(w io.Writer) {
				for _, v := range plan {
					fmt.Fprintf(w, "would remove volume %s/%s, %s%s\n", view.Pool, v.Name, v.SizeBytes, inTheWay(c, v))
				}
			})
		}
		what := fmt.Sprintf("%s of pool %s with all their data: %s.", output.Plural(len(plan), "volume"), pool.Name(),
			strings.Join(names, ", "))
		if err := c.Confirm("This removes "+what, "yes"); err != nil {
			return err
		}
		var fault error
		view.Volumes, fault = remove(c, pool, plan)
		if fault != nil && len(view.Volumes) == 0 {
			return fault
		}
		return errors.Join(fault, c.Show(view, func(w io.Writer) {
			for _, v := range view.Volumes {
				note := ""
				if !v.Reaped {
					note = "; its blocks will be freed when it is no longer in use"
				}
				fmt.Fprintf(w, "volume %s/%s removed%s\n", view.Pool, v.Name, note)
			}
		}))
	})
}

func planRemovals(c *command.Call, pool *thinpool.Pool, names []string) ([]removalView, error) {
	var plan []removalView
	var faults []error
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] {
			continue
		}
		seen[name] = true
		status, err := pool.VolumeStatus(c.Ctx, name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if err := refuseOwned("remove", pool, status.Volume); err != nil {
			faults = append(faults, err)
			continue
		}
		plan = append(plan, removalView{Name: name, ID: status.ID, SizeBytes: status.Size, Open: status.Open})
	}
	return plan, errors.Join(faults...)
}

// refuseOwned refuses to change the volume of a layer or container.
func refuseOwned(op string, pool *thinpool.Pool, v thinpool.Volume) error {
	if v.For == "" {
		return nil
	}
	return exit.Errorf(fault.Invalid, "%s volume %s/%s: it belongs to a %s; use the `thinctl layer`, "+
		"`container` and `image` commands", op, pool.Name(), v.Name, v.For)
}

func inTheWay(c *command.Call, v removalView) string {
	switch {
	case v.Open == 0:
		return ""
	case c.Flags.Bool("deferred"):
		return "; it is in use, its blocks would be freed later"
	}
	return "; blocked: it is in use, `thinctl volume status` lists its users"
}

// remove removes volumes and continues after one that fails.
func remove(c *command.Call, pool *thinpool.Pool, plan []removalView) ([]removalView, error) {
	removed := []removalView{}
	var faults []error
	for _, v := range plan {
		done := c.Progress("removing volume %s/%s", pool.Name(), v.Name)
		removal, err := pool.RemoveVolume(c.Ctx, v.Name, thinpool.RemoveOptions{Deferred: c.Flags.Bool("deferred")})
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

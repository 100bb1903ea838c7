package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/dm"
	"thinctl/thinpool"
)

func (a *app) poolCheck() *cli.Command {
	return a.leaf(leaf{
		name: "check", args: "[NAME]", usage: "compare database, kernel and metadata, and layers with their volumes",
		about: "Changes nothing. Exits 6 where something is wrong. An active pool's metadata is checked through a metadata snapshot, which has no space maps: deactivate it to check these too.",
		run:   (*call).checkPools, complete: (*call).poolNames,
	})
}

func (a *app) poolRepair() *cli.Command {
	return a.leaf(leaf{
		name: "repair", args: "NAME", usage: "mend what `pool check` finds",
		about: "Damaged metadata is rebuilt only while the pool is inactive, and kept as it was found. Exits 6 where something is left.",
		flags: []cli.Flag{dryRunFlag()},
		run:   (*call).repairPool, complete: (*call).poolNames,
	})
}

type checkView struct {
	envelope
	Pools []checkedView `json:"pools"`
}

type checkedView struct {
	Name     string        `json:"name"`
	Active   bool          `json:"active"`
	Healthy  bool          `json:"healthy"`
	Findings []findingView `json:"findings"`
	// Disks are the pool's data and metadata, as they were found.
	Disks []thinpool.FoundDisk `json:"disks"`
}

type findingView struct {
	Code       string `json:"code"`
	Object     string `json:"object"`
	Detail     string `json:"detail"`
	Remedy     string `json:"remedy,omitempty"`
	Repairable bool   `json:"repairable"`
	// Fault is what is wrong with the metadata, and Lost how many mappings of
	// volumes go with the repair, at most.
	Fault string `json:"fault,omitempty"`
	Lost  uint64 `json:"lost_mappings,omitempty"`
}

func newFindingViews(findings []thinpool.Finding) []findingView {
	views := []findingView{}
	for _, f := range findings {
		views = append(views, findingView{Code: f.Code, Object: f.Object, Detail: f.Detail, Remedy: f.Remedy, Repairable: f.Repairable,
			Fault: string(f.Fault), Lost: f.Lost})
	}
	return views
}

// faults counts what is wrong. A tombstone is work that waits, not a fault.
func faults(findings []findingView) int {
	n := 0
	for _, f := range findings {
		if f.Code != thinpool.FindTombstone {
			n++
		}
	}
	return n
}

func (c *call) checkPools() error {
	pools := []checkedView{}
	fault := c.onPools(c.arg(0), func(pool *thinpool.Pool) error {
		done := c.progress("checking pool %s", pool.Name())
		report, err := pool.Check(c.ctx)
		var records []findingView
		if err == nil {
			// Where the metadata cannot be read, neither can what counts, and the
			// report has said so.
			if records, err = c.checkRecords(pool); len(report.Findings) > 0 {
				err = nil
			}
		}
		done()
		if err != nil {
			return err
		}
		c.nameHolders(report.Findings)
		one := checkedView{Name: report.Pool, Active: report.Active, Findings: append(newFindingViews(report.Findings), records...),
			Disks: append([]thinpool.FoundDisk{}, report.Disks...)}
		one.Healthy = faults(one.Findings) == 0
		pools = append(pools, one)
		if !one.Healthy {
			return failed(errUnhealthy, "check pool %s: %s; `thinctl pool repair %s --dry-run` says what can be mended",
				one.Name, plural(faults(one.Findings), "fault"), one.Name)
		}
		return nil
	})
	if fault != nil && len(pools) == 0 {
		return fault
	}
	return errors.Join(fault, c.show(checkView{schema(), pools}, func(w io.Writer) {
		for _, pool := range pools {
			if pool.Healthy {
				fmt.Fprintf(w, "pool %s: sound\n", pool.Name)
			} else {
				fmt.Fprintf(w, "pool %s: %s\n", pool.Name, plural(faults(pool.Findings), "fault"))
			}
			writeFindings(w, pool.Findings)
			if len(pool.Findings) > 0 {
				writeDisks(w, pool.Disks)
			}
		}
	}))
}

// writeDisks lists where the pool's block devices are. Files of the pool's
// directory need no mention.
func writeDisks(w io.Writer, disks []thinpool.FoundDisk) {
	for _, disk := range disks {
		if disk.Identity.Kind != "" {
			fmt.Fprintf(w, "  %s is on %s (%s)\n", disk.Role, disk.Path, disk.Identity)
		}
	}
}

// nameHolders says with each removed volume who still has it: no other command
// can, since its name is gone.
func (c *call) nameHolders(findings []thinpool.Finding) {
	for i := range findings {
		f := &findings[i]
		if f.Code != thinpool.FindTombstone || f.Device == (dm.Dev{}) {
			continue
		}
		holders, err := c.files.Holders(c.ctx, f.Device.Major, f.Device.Minor)
		for _, h := range holders {
			f.Detail += fmt.Sprintf("; in use: %s", newHolderView(h))
		}
		if err != nil {
			f.Detail += "; who uses it cannot be told for all: " + err.Error()
		}
	}
}

// findRecord is the code of what the records of images, layers and containers do
// not agree on.
const findRecord = "record"

// checkRecords compares the records of images, layers and containers.
func (c *call) checkRecords(pool *thinpool.Pool) ([]findingView, error) {
	found, err := c.contents(pool).Check(c.ctx)
	var views []findingView
	for _, d := range found {
		views = append(views, findingView{Code: findRecord, Object: d.Object, Detail: d.Detail,
			Remedy: "remove the image or container and load it anew"})
	}
	return views, err
}

func writeFindings(w io.Writer, findings []findingView) {
	for _, f := range findings {
		fmt.Fprintf(w, "  %s: %s: %s", f.Code, f.Object, f.Detail)
		if f.Remedy != "" {
			fmt.Fprintf(w, "; %s", f.Remedy)
		}
		fmt.Fprintln(w)
	}
}

type repairView struct {
	envelope
	DryRun  bool     `json:"dry_run"`
	Pool    string   `json:"pool"`
	Actions []string `json:"actions"`
	Damaged string   `json:"damaged_copy,omitempty"`
	// Lost are the volumes that are not whole any more.
	Lost []thinpool.LostVolume `json:"lost"`
	Left []findingView         `json:"left"`
}

func (c *call) repairPool() error {
	dry := c.flags.Bool("dry-run")
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		done := c.progress("repairing pool %s", pool.Name())
		repair, err := pool.Repair(c.ctx, thinpool.RepairOptions{DryRun: dry})
		done()
		if err != nil {
			return err
		}
		view := repairView{envelope: schema(), DryRun: dry, Pool: pool.Name(), Actions: append([]string{}, repair.Actions...),
			Damaged: repair.Damaged, Lost: append([]thinpool.LostVolume{}, repair.Lost...), Left: newFindingViews(repair.Left)}
		err = c.show(view, view.write)
		if n := faults(view.Left); n > 0 {
			err = errors.Join(err, failed(errUnhealthy, "repair pool %s: %s left; each says what to do", pool.Name(), plural(n, "fault")))
		}
		return err
	})
}

func (v repairView) write(w io.Writer) {
	verb := "done"
	if v.DryRun {
		verb = "would do"
	}
	if len(v.Actions) == 0 && len(v.Left) == 0 {
		fmt.Fprintf(w, "pool %s: nothing to mend\n", v.Pool)
	}
	for _, action := range v.Actions {
		fmt.Fprintf(w, "%s: %s\n", verb, action)
	}
	if v.Damaged != "" {
		fmt.Fprintf(w, "the damaged metadata is kept as %s\n", v.Damaged)
	}
	for _, lost := range v.Lost {
		if lost.Gone {
			fmt.Fprintf(w, "lost: all of %s\n", lost.Volume)
		} else {
			fmt.Fprintf(w, "lost: %d blocks of %s, %d are kept\n", lost.Lost, lost.Volume, lost.Kept)
		}
	}
	if len(v.Left) > 0 {
		fmt.Fprintln(w, "left:")
		writeFindings(w, v.Left)
	}
}

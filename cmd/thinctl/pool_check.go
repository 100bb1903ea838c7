package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/blockdev"
	"thinctl/internal/containerd"
	"thinctl/internal/images"
	"thinctl/thinpool"
	"thinctl/thinpool/store"
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
		name: "repair", args: "NAME", usage: "repair what `pool check` finds, and a lost state.db",
		about: "Damaged metadata is rebuilt only while the pool is inactive, and kept as it was found. " +
			"A database that is lost, damaged or of another moment is brought to agree with the metadata: thin devices that it does not have become volumes, " +
			"volumes whose thin device is gone are listed as lost and dropped. Exits 6 if something is left.",
		flags: []cli.Flag{dryRunFlag(),
			&cli.StringFlag{Name: "data-device", Usage: "block device `PATH` with the data, if state.db is lost"},
			&cli.StringFlag{Name: "metadata-device", Usage: "block device `PATH` with the metadata, if state.db is lost"}},
		run: (*call).repairPool, complete: (*call).poolNames,
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
		if f.Code != thinpool.FindTombstone || f.Device == (blockdev.Number{}) {
			continue
		}
		holders, err := c.files.Holders(c.ctx, f.Device)
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
	store := c.contents(pool)
	found, err := store.Check(c.ctx)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	all, err := store.Images(c.ctx)
	var views []findingView
	for _, d := range found {
		one := findingView{Code: findRecord, Object: d.Object, Detail: d.Detail, Repairable: d.Tar == ""}
		if one.Repairable {
			one.Remedy = fmt.Sprintf("`thinctl pool repair %s` drops the record and keeps what is there of its volumes", pool.Name())
		} else {
			one.Remedy = loadAgain(pool.Name(), d.Tar, all)
		}
		views = append(views, one)
	}
	return views, err
}

// loadAgain is the remedy for a layer whose tar cannot be written again: images
// that have it can be run, and neither saved nor pushed.
func loadAgain(pool, layer string, all []images.Image) string {
	var commands []string
	for _, image := range all {
		if !slices.Contains(image.Layers, layer) {
			continue
		}
		name := image.Shown()
		if len(image.Names) > 0 {
			name = image.Names[0].Familiar()
		}
		commands = append(commands, fmt.Sprintf("`thinctl image remove %s %s --yes`", pool, name))
	}
	if len(commands) == 0 {
		return fmt.Sprintf("`thinctl image prune %s --yes` removes layers that no image has", pool)
	}
	return strings.Join(commands, ", ") + ", then load or pull it again"
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
	// Warnings are what to do before volumes are used again.
	Warnings []string `json:"warnings,omitempty"`
	// Database is the copy of the database as it was found.
	Database string `json:"database_copy,omitempty"`
	Damaged  string `json:"damaged_copy,omitempty"`
	// Lost are the volumes that are not whole any more.
	Lost []thinpool.LostVolume `json:"lost"`
	Kept int                   `json:"kept_volumes"`
	Left []findingView         `json:"left"`
}

func (c *call) repairPool() error {
	dry := c.flags.Bool("dry-run")
	name := c.arg(0)
	return c.onHost(func() error {
		done := c.progress("repairing pool %s", name)
		repair, err := thinpool.RepairAt(c.ctx, c.host, c.root(), name, thinpool.RepairOptions{DryRun: dry, Records: repairRecords,
			DataDevice: c.flags.String("data-device"), MetadataDevice: c.flags.String("metadata-device")})
		done()
		view := repairView{envelope: schema(), DryRun: dry, Pool: name, Actions: append([]string{}, repair.Actions...),
			Warnings: repair.Warnings, Database: repair.Database, Damaged: repair.Damaged,
			Lost: append([]thinpool.LostVolume{}, repair.Lost...), Kept: repair.Kept, Left: newFindingViews(repair.Left)}
		if err != nil && len(view.Actions) == 0 {
			return err
		}
		err = errors.Join(err, c.show(view, view.write)) // what was done is shown whatever came then
		if n := faults(view.Left); n > 0 {
			err = errors.Join(err, failed(errUnhealthy, "repair pool %s: %s left; each says what to do", name, plural(n, "fault")))
		}
		return err
	})
}

// repairRecords repairs what checkRecords finds, and containerd's snapshots.
func repairRecords(tx *store.Tx) ([]string, error) {
	done, err := images.RepairIn(tx)
	if err != nil {
		return done, err
	}
	more, err := containerd.RepairIn(tx)
	return append(done, more...), err
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
	for _, warning := range v.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	if v.Database != "" {
		fmt.Fprintf(w, "the database as it was is kept as %s\n", v.Database)
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
	if len(v.Lost) > 0 {
		fmt.Fprintf(w, "kept: %s\n", plural(v.Kept, "volume"))
	}
	if len(v.Left) > 0 {
		fmt.Fprintln(w, "left:")
		writeFindings(w, v.Left)
	}
}

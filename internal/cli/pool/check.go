package pool

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/blockdev"
	"thinctl/fault"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
	"thinctl/internal/remedy"
	"thinctl/thinpool"
)

func checkCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "check", Args: "[NAME]", Usage: "check the database, metadata, volumes and layers of pools",
		About: "Compares database, kernel and metadata, and layers with their volumes. Changes nothing. Exits 6 if " +
			"something is wrong. The metadata of an active pool is checked in a metadata snapshot, which has no space " +
			"maps: deactivate the pool to check these, too.",
		Run: checkPools, Complete: (*command.Call).PoolNames,
	})
}

func repairCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "repair", Args: "NAME", Usage: "repair what `pool check` finds, or a lost state.db",
		About: "Damaged metadata is rebuilt only while the pool is inactive; a copy of it is kept. " +
			"A database that is lost, damaged or out of date is made to agree with the metadata: thin devices that it " +
			"lacks become volumes, " +
			"volumes without a thin device are listed as lost and dropped. Exits 6 if a fault remains.",
		Flags: []cli.Flag{command.DryRunFlag(),
			&cli.StringFlag{Name: "data-device", Usage: "block device `PATH` with the data, if state.db is lost"},
			&cli.StringFlag{Name: "metadata-device", Usage: "block device `PATH` with the metadata, if state.db is lost"}},
		Run: repairPool, Complete: (*command.Call).PoolNames,
	})
}

type checkView struct {
	output.Envelope
	Pools []checkedView `json:"pools"`
}

type checkedView struct {
	Name     string        `json:"name"`
	Active   bool          `json:"active"`
	Healthy  bool          `json:"healthy"`
	Findings []findingView `json:"findings"`
	// Disks are the devices or files where the pool's data and metadata were found.
	Disks []thinpool.FoundDisk `json:"disks"`
}

type findingView struct {
	Code       string `json:"code"`
	Object     string `json:"object"`
	Detail     string `json:"detail"`
	Remedy     string `json:"remedy,omitempty"`
	Repairable bool   `json:"repairable"`
	// Fault is the damage of the metadata. Lost is the maximum of mappings that a repair loses.
	Fault string `json:"fault,omitempty"`
	Lost  uint64 `json:"lost_mappings,omitempty"`
}

func newFindingViews(findings []thinpool.Finding) []findingView {
	views := []findingView{}
	for _, f := range findings {
		detail, next := remedy.Finding(f)
		views = append(views, findingView{Code: f.Code, Object: f.Object, Detail: detail, Remedy: next,
			Repairable: f.Repairable, Fault: string(f.Fault), Lost: f.Lost})
	}
	return views
}

// faults counts the faults. A tombstone is pending work, not a fault.
func faults(findings []findingView) int {
	n := 0
	for _, f := range findings {
		if f.Code != thinpool.FindTombstone {
			n++
		}
	}
	return n
}

func checkPools(c *command.Call) error {
	pools := []checkedView{}
	fault := c.OnPools(c.Arg(0), func(pool *thinpool.Pool) error {
		done := c.Progress("checking pool %s", pool.Name())
		report, err := pool.Check(c.Ctx)
		var records []findingView
		if err == nil {
			// If the metadata cannot be read, the records cannot be checked either, and the report
			// has a finding about it.
			if records, err = checkRecords(c, pool); len(report.Findings) > 0 {
				err = nil
			}
		}
		done()
		if err != nil {
			return err
		}
		nameHolders(c, report.Findings)
		one := checkedView{Name: report.Pool, Active: report.Active,
			Findings: append(newFindingViews(report.Findings), records...),
			Disks:    append([]thinpool.FoundDisk{}, report.Disks...)}
		one.Healthy = faults(one.Findings) == 0
		pools = append(pools, one)
		if !one.Healthy {
			return exit.Errorf(fault.Unhealthy, "check pool %s: %s; `thinctl pool repair %s --dry-run` lists what can "+
				"be repaired",
				one.Name, output.Plural(faults(one.Findings), "fault"), one.Name)
		}
		return nil
	})
	if fault != nil && len(pools) == 0 {
		return fault
	}
	return errors.Join(fault, c.Show(checkView{output.Schema(), pools}, func(w io.Writer) {
		for _, pool := range pools {
			if pool.Healthy {
				fmt.Fprintf(w, "pool %s: sound\n", pool.Name)
			} else {
				fmt.Fprintf(w, "pool %s: %s\n", pool.Name, output.Plural(faults(pool.Findings), "fault"))
			}
			writeFindings(w, pool.Findings)
			if len(pool.Findings) > 0 {
				writeDisks(w, pool.Disks)
			}
		}
	}))
}

// writeDisks lists the pool's block devices. Files are always in the pool's directory.
func writeDisks(w io.Writer, disks []thinpool.FoundDisk) {
	for _, disk := range disks {
		if disk.Identity.Kind != "" {
			fmt.Fprintf(w, "  %s is on %s (%s)\n", disk.Role, disk.Path, disk.Identity)
		}
	}
}

// nameHolders adds the users of each removed volume. No other command can list them, because the
// name of the volume is gone.
func nameHolders(c *command.Call, findings []thinpool.Finding) {
	for i := range findings {
		f := &findings[i]
		if f.Code != thinpool.FindTombstone || f.Device == (blockdev.Number{}) {
			continue
		}
		holders, err := c.Files.Holders(c.Ctx, f.Device)
		for _, h := range holders {
			f.Detail += fmt.Sprintf("; in use: %s", output.NewHolder(h))
		}
		if err != nil {
			f.Detail += "; the list of its users may be incomplete: " + err.Error()
		}
	}
}

// findRecord is the code of records of images, layers and containers that do not agree.
const findRecord = "record"

// checkRecords compares the records of images, layers and containers.
func checkRecords(c *command.Call, pool *thinpool.Pool) ([]findingView, error) {
	store := c.Images(pool)
	found, err := store.Check(c.Ctx)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	all, err := store.Images(c.Ctx)
	var views []findingView
	for _, d := range found {
		one := findingView{Code: findRecord, Object: d.Object, Detail: d.Detail, Repairable: d.Tar == ""}
		if one.Repairable {
			one.Remedy = fmt.Sprintf("`thinctl pool repair %s` drops the record and keeps its volumes", pool.Name())
		} else {
			one.Remedy = loadAgain(pool.Name(), d.Tar, all)
		}
		views = append(views, one)
	}
	return views, err
}

// loadAgain returns the remedy for a layer whose tar cannot be rebuilt. Containers of its images
// can run, but the images can neither be saved nor pushed.
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
	output.Envelope
	DryRun  bool     `json:"dry_run"`
	Pool    string   `json:"pool"`
	Actions []string `json:"actions"`
	// Warnings are actions to take before volumes are used again.
	Warnings []string `json:"warnings,omitempty"`
	// Database is the path of the copy of the old database.
	Database string `json:"database_copy,omitempty"`
	Damaged  string `json:"damaged_copy,omitempty"`
	// Lost are the volumes that are no longer complete.
	Lost []thinpool.LostVolume `json:"lost"`
	Kept int                   `json:"kept_volumes"`
	Left []findingView         `json:"left"`
}

func repairPool(c *command.Call) error {
	dry := c.Flags.Bool("dry-run")
	name := c.Arg(0)
	return c.OnHost(func() error {
		done := c.Progress("repairing pool %s", name)
		repair, err := thinpool.RepairAt(c.Ctx, c.Host, c.Root(), name,
			thinpool.RepairOptions{DryRun: dry, Records: images.RepairIn,
				DataDevice: c.Flags.String("data-device"), MetadataDevice: c.Flags.String("metadata-device")})
		done()
		view := repairView{Envelope: output.Schema(), DryRun: dry, Pool: name, Actions: append([]string{}, repair.Actions...),
			Warnings: repair.Warnings, Database: repair.Database, Damaged: repair.Damaged,
			Lost: append([]thinpool.LostVolume{}, repair.Lost...), Kept: repair.Kept, Left: newFindingViews(repair.Left)}
		if err != nil && len(view.Actions) == 0 {
			return err
		}
		err = errors.Join(err, c.Show(view, view.write)) // show what was done, also after an error
		if n := faults(view.Left); n > 0 {
			err = errors.Join(err, exit.Errorf(fault.Unhealthy, "repair pool %s: %s left; see the remedy of each", name,
				output.Plural(n, "fault")))
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
		fmt.Fprintf(w, "pool %s: nothing to repair\n", v.Pool)
	}
	for _, action := range v.Actions {
		fmt.Fprintf(w, "%s: %s\n", verb, action)
	}
	for _, warning := range v.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	if v.Database != "" {
		fmt.Fprintf(w, "the old database is kept as %s\n", v.Database)
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
		fmt.Fprintf(w, "kept: %s\n", output.Plural(v.Kept, "volume"))
	}
	if len(v.Left) > 0 {
		fmt.Fprintln(w, "left:")
		writeFindings(w, v.Left)
	}
}

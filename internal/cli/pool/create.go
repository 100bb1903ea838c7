package pool

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/output"
	"thinctl/thinpool"
	"thinctl/units"
)

func createCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "create", Args: "NAME", Usage: "create a pool and activate it",
		About: "Creates a pool on two sparse files under the root, or on block devices. Refuses a device that holds data.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "data-size", DefaultText: thinpool.DefaultDataSize.String(),
				Usage: "data `SIZE`; a block device is used in full"},
			&cli.StringFlag{Name: "metadata-size", DefaultText: "from the data size, at least " +
				thinpool.DefaultMetadataSize.String(), Usage: "metadata `SIZE`"},
			&cli.StringFlag{Name: "block-size", DefaultText: thinpool.DefaultBlock.String(),
				Usage: "`SIZE` of a data block, the unit of allocation and sharing, 64K to 1G"},
			&cli.StringFlag{Name: "base-size", DefaultText: thinpool.DefaultBaseSize.String(),
				Usage: "default `SIZE` of a volume"},
			&cli.Uint64Flag{Name: "low-water", DefaultText: fmt.Sprint(thinpool.DefaultLowWater, ", at most a tenth"),
				Usage: "raise an event below this number of free data `BLOCKS`"},
			&cli.StringFlag{Name: "data-device", Usage: "block `DEVICE` for the data, instead of a sparse file"},
			&cli.StringFlag{Name: "metadata-device", Usage: "block `DEVICE` for the metadata"},
			&cli.StringFlag{Name: "full", Value: "queue",
				Usage: "`POLICY` of a full pool: queue makes writes wait for space, error fails them"},
			&cli.BoolFlag{Name: "no-zeroing", Usage: "do not zero new blocks: a volume can read their old contents"},
			&cli.BoolFlag{Name: "buffered", Usage: "do not use direct IO on the loop devices"},
			&cli.BoolFlag{Name: "preallocate", Usage: "allocate all blocks of the files now"},
			&cli.IntFlag{Name: "reserve-data", Value: thinpool.DefaultReserve,
				Usage: "keep this `PERCENT` of the data free: refuse new volumes below it"},
			&cli.IntFlag{Name: "reserve-metadata", Value: thinpool.DefaultReserve,
				Usage: "keep this `PERCENT` of the metadata free"},
			&cli.IntFlag{Name: "reserve-host", Value: thinpool.DefaultHostReserve,
				Usage: "keep this `PERCENT` of the host's file system free"},
			&cli.BoolFlag{Name: "force", Usage: "use devices that hold data, and destroy the data"},
			command.DryRunFlag(),
		},
		Run: createPool,
	})
}

func createPool(c *command.Call) error {
	options, err := createOptions(c)
	if err != nil {
		return err
	}
	name := c.Arg(0)
	return c.OnHost(func() error {
		if c.Flags.Bool("dry-run") {
			plan, err := thinpool.PlanCreate(c.Ctx, c.Host, c.Root(), name, options)
			if err != nil {
				return err
			}
			return c.Show(newPlanView(plan, options), func(w io.Writer) { writePlan(w, plan, options) })
		}
		done := c.Progress("creating pool %s", name)
		pool, err := thinpool.Create(c.Ctx, c.Host, c.Root(), name, options)
		done()
		if err != nil {
			return err
		}
		status, err := pool.Status(c.Ctx)
		if err != nil {
			return err
		}
		view := newPoolView(c, status)
		return c.Show(struct {
			output.Envelope
			Pool poolView `json:"pool"`
		}{output.Schema(), view}, func(w io.Writer) {
			fmt.Fprintf(w, "pool %s created: %s of data, %s of metadata, in %s\n", view.Name, status.Data.Total,
				status.Metadata.Total, view.Dir)
		})
	})
}

// createOptions parses the flags and returns all their faults at once.
func createOptions(c *command.Call) (thinpool.CreateOptions, error) {
	o := thinpool.CreateOptions{
		LowWater: c.Flags.Uint64("low-water"), DataDevice: c.Flags.String("data-device"),
		MetadataDevice: c.Flags.String("metadata-device"),
		Force:          c.Flags.Bool("force"), SkipZeroing: c.Flags.Bool("no-zeroing"), Buffered: c.Flags.Bool("buffered"),
		Preallocate: c.Flags.Bool("preallocate"),
		Reserve: &thinpool.Reserve{Data: c.Flags.Int("reserve-data"), Metadata: c.Flags.Int("reserve-metadata"),
			Host: c.Flags.Int("reserve-host")},
	}
	var faults []error
	for _, s := range []struct {
		flag string
		into *units.Bytes
	}{{"data-size", &o.DataSize}, {"metadata-size", &o.MetadataSize}, {"block-size", &o.Block},
		{"base-size", &o.BaseSize}} {
		size, err := c.SizeFlag(s.flag)
		*s.into = size
		faults = append(faults, err)
	}
	switch full := c.Flags.String("full"); full {
	case "queue":
	case "error":
		o.ErrorIfFull = true
	default:
		faults = append(faults, &exit.UsageError{Why: fmt.Sprintf("--full %q: unknown policy", full),
			Remedy: "use queue or error"})
	}
	if c.Flags.IsSet("low-water") && o.LowWater == 0 {
		faults = append(faults, &exit.UsageError{Why: "--low-water 0 would never raise an event", Remedy: "use at least 1"})
	}
	return o, errors.Join(faults...)
}

type planView struct {
	output.Envelope
	DryRun bool `json:"dry_run"`
	Pool   struct {
		Name           string      `json:"name"`
		Dir            string      `json:"dir"`
		Device         string      `json:"device"`
		Data           backingView `json:"data"`
		Metadata       backingView `json:"metadata"`
		BlockBytes     units.Bytes `json:"block_bytes"`
		BaseBytes      units.Bytes `json:"base_size_bytes"`
		LowWaterBlocks uint64      `json:"low_water_blocks"`
		FullPolicy     string      `json:"full_policy"`
		Zeroing        bool        `json:"zeroing"`
		Reserve        reserveView `json:"reserve_percent"`
	} `json:"pool"`
	Warnings []string `json:"warnings"`
}

type backingView struct {
	Path      string      `json:"path"`
	Sparse    bool        `json:"file"`
	SizeBytes units.Bytes `json:"size_bytes"`
}

func newPlanView(plan thinpool.Plan, options thinpool.CreateOptions) planView {
	v := planView{Envelope: output.Schema(), DryRun: true, Warnings: append([]string{}, plan.Warnings...)}
	p := &v.Pool
	p.Name, p.Dir, p.Device = plan.Name, plan.Dir, plan.Device
	p.Data, p.Metadata = newBackingView(plan.Dir, plan.Data), newBackingView(plan.Dir, plan.Metadata)
	p.BlockBytes, p.BaseBytes, p.LowWaterBlocks = plan.Block, plan.BaseSize, plan.LowWater
	p.FullPolicy, p.Zeroing, p.Reserve = fullPolicy(options.ErrorIfFull), !options.SkipZeroing, reserveView(plan.Reserve)
	return v
}

func newBackingView(dir string, b thinpool.Backing) backingView {
	return backingView{Path: backingPath(dir, b), Sparse: b.Loop, SizeBytes: b.Size}
}

func writePlan(w io.Writer, plan thinpool.Plan, options thinpool.CreateOptions) {
	fmt.Fprintf(w, "would create pool %s:\n", plan.Name)
	output.Field(w, "Directory", plan.Dir)
	output.Field(w, "Device", plan.Device)
	for _, b := range []struct {
		name    string
		backing thinpool.Backing
	}{{"Data", plan.Data}, {"Metadata", plan.Metadata}} {
		kind := "block device"
		if b.backing.Loop {
			kind = "sparse file"
			if options.Preallocate || b.name == "Metadata" {
				kind = "file"
			}
		}
		output.Field(w, b.name, fmt.Sprintf("%s %s of %s", kind, backingPath(plan.Dir, b.backing), b.backing.Size))
	}
	output.Field(w, "Block size", plan.Block)
	output.Field(w, "Base size", plan.BaseSize)
	output.Field(w, "Low water", output.Plural(int(plan.LowWater), "block"))
	output.Field(w, "When full", fullPolicy(options.ErrorIfFull))
	output.Field(w, "Reserve", fmt.Sprintf("data %d%%, metadata %d%%, host %d%%", plan.Reserve.Data,
		plan.Reserve.Metadata, plan.Reserve.Host))
	for _, warning := range plan.Warnings {
		output.Field(w, "Warning", warning)
	}
}

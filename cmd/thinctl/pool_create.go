package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/thinpool"
	"thinctl/thinpool/store"
	"thinctl/units"
)

func (a *app) poolCreate() *cli.Command {
	return a.leaf(leaf{
		name: "create", args: "NAME", usage: "make a pool and activate it",
		about: "Makes a pool on two sparse files under the root, or on block devices. A device that holds anything is refused.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "data-size", DefaultText: thinpool.DefaultDataSize.String(), Usage: "data `SIZE`; of a block device all of it"},
			&cli.StringFlag{Name: "metadata-size", DefaultText: "by the data size, at least " + thinpool.DefaultMetadataSize.String(), Usage: "metadata `SIZE`"},
			&cli.StringFlag{Name: "block-size", DefaultText: thinpool.DefaultBlock.String(), Usage: "`SIZE` of the unit of allocation and sharing, 64K to 1G"},
			&cli.StringFlag{Name: "base-size", DefaultText: thinpool.DefaultBaseSize.String(), Usage: "`SIZE` of a volume that is made without one"},
			&cli.Uint64Flag{Name: "low-water", DefaultText: fmt.Sprint(thinpool.DefaultLowWater, ", at most a tenth"), Usage: "free data `BLOCKS` that raise an event"},
			&cli.StringFlag{Name: "data-device", Usage: "block `DEVICE` for the data, instead of a sparse file"},
			&cli.StringFlag{Name: "metadata-device", Usage: "block `DEVICE` for the metadata"},
			&cli.StringFlag{Name: "full", Value: "queue", Usage: "what a full pool does with writes, by `POLICY`: queue lets them wait for space, error fails them"},
			&cli.BoolFlag{Name: "no-zeroing", Usage: "let a volume read what its new blocks held before"},
			&cli.BoolFlag{Name: "buffered", Usage: "no direct IO on the loop devices"},
			&cli.BoolFlag{Name: "preallocate", Usage: "give the files all their blocks now"},
			&cli.IntFlag{Name: "reserve-data", Value: thinpool.DefaultReserve, Usage: "`PERCENT` of the data that new volumes must leave free"},
			&cli.IntFlag{Name: "reserve-metadata", Value: thinpool.DefaultReserve, Usage: "`PERCENT` of the metadata"},
			&cli.IntFlag{Name: "reserve-host", Value: thinpool.DefaultHostReserve, Usage: "`PERCENT` of the file system under the files"},
			&cli.BoolFlag{Name: "force", Usage: "take devices that hold something, and destroy that"},
			dryRunFlag(),
		},
		run: (*call).createPool,
	})
}

func (c *call) createPool() error {
	options, err := c.createOptions()
	if err != nil {
		return err
	}
	name := c.arg(0)
	return c.onHost(func() error {
		if c.flags.Bool("dry-run") {
			plan, err := thinpool.PlanCreate(c.ctx, c.host, c.root(), name, options)
			if err != nil {
				return err
			}
			return c.show(newPlanView(plan, options), func(w io.Writer) { writePlan(w, plan, options) })
		}
		done := c.progress("creating pool %s", name)
		pool, err := thinpool.Create(c.ctx, c.host, c.root(), name, options)
		done()
		if err != nil {
			return err
		}
		status, err := pool.Status(c.ctx)
		if err != nil {
			return err
		}
		view := c.newPoolView(status)
		return c.show(struct {
			envelope
			Pool poolView `json:"pool"`
		}{schema(), view}, func(w io.Writer) {
			fmt.Fprintf(w, "pool %s made: %s of data, %s of metadata, in %s\n", view.Name, status.Data.Total, status.Metadata.Total, view.Dir)
		})
	})
}

// createOptions reads the flags, and tells all their faults at once.
func (c *call) createOptions() (thinpool.CreateOptions, error) {
	o := thinpool.CreateOptions{
		LowWater: c.flags.Uint64("low-water"), DataDevice: c.flags.String("data-device"), MetadataDevice: c.flags.String("metadata-device"),
		Force: c.flags.Bool("force"), SkipZeroing: c.flags.Bool("no-zeroing"), Buffered: c.flags.Bool("buffered"), Preallocate: c.flags.Bool("preallocate"),
		Reserve: &store.Reserve{Data: c.flags.Int("reserve-data"), Metadata: c.flags.Int("reserve-metadata"), Host: c.flags.Int("reserve-host")},
	}
	var faults []error
	for _, s := range []struct {
		flag string
		into *units.Bytes
	}{{"data-size", &o.DataSize}, {"metadata-size", &o.MetadataSize}, {"block-size", &o.Block}, {"base-size", &o.BaseSize}} {
		size, err := c.sizeFlag(s.flag)
		*s.into = size
		faults = append(faults, err)
	}
	switch full := c.flags.String("full"); full {
	case "queue":
	case "error":
		o.ErrorIfFull = true
	default:
		faults = append(faults, &usageError{why: fmt.Sprintf("--full %q is not known", full), remedy: "use queue or error"})
	}
	if c.flags.IsSet("low-water") && o.LowWater == 0 {
		faults = append(faults, &usageError{why: "--low-water 0 would never tell", remedy: "use at least 1"})
	}
	return o, errors.Join(faults...)
}

// sizeFlag reads a size; 0 where the flag was not given.
func (c *call) sizeFlag(name string) (units.Bytes, error) {
	if !c.flags.IsSet(name) {
		return 0, nil
	}
	size, err := units.Parse(c.flags.String(name))
	if err != nil {
		return 0, &usageError{why: "--" + name + ": " + err.Error()}
	}
	if size == 0 {
		return 0, &usageError{why: "--" + name + " 0 is nothing", remedy: "leave it out for the default"}
	}
	return size, nil
}

type planView struct {
	envelope
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
	v := planView{envelope: schema(), DryRun: true, Warnings: append([]string{}, plan.Warnings...)}
	p := &v.Pool
	p.Name, p.Dir, p.Device = plan.Name, plan.Dir, plan.Device
	p.Data, p.Metadata = newBackingView(plan.Dir, plan.Data), newBackingView(plan.Dir, plan.Metadata)
	p.BlockBytes, p.BaseBytes, p.LowWaterBlocks = plan.Block, plan.BaseSize, plan.LowWater
	p.FullPolicy, p.Zeroing, p.Reserve = fullPolicy(options.ErrorIfFull), !options.SkipZeroing, reserveView(plan.Reserve)
	return v
}

func newBackingView(dir string, b store.Backing) backingView {
	return backingView{Path: backingPath(dir, b), Sparse: b.Loop, SizeBytes: b.Size}
}

func writePlan(w io.Writer, plan thinpool.Plan, options thinpool.CreateOptions) {
	fmt.Fprintf(w, "would make pool %s:\n", plan.Name)
	fact(w, "Folder", plan.Dir)
	fact(w, "Device", plan.Device)
	for _, b := range []struct {
		name    string
		backing store.Backing
	}{{"Data", plan.Data}, {"Metadata", plan.Metadata}} {
		kind := "block device"
		if b.backing.Loop {
			kind = "sparse file"
			if options.Preallocate || b.name == "Metadata" {
				kind = "file"
			}
		}
		fact(w, b.name, fmt.Sprintf("%s %s of %s", kind, backingPath(plan.Dir, b.backing), b.backing.Size))
	}
	fact(w, "Block size", plan.Block)
	fact(w, "Base size", plan.BaseSize)
	fact(w, "Low water", plural(int(plan.LowWater), "block"))
	fact(w, "When full", fullPolicy(options.ErrorIfFull))
	fact(w, "Reserve", fmt.Sprintf("data %d%%, metadata %d%%, host %d%%", plan.Reserve.Data, plan.Reserve.Metadata, plan.Reserve.Host))
	for _, warning := range plan.Warnings {
		fact(w, "Warning", warning)
	}
}

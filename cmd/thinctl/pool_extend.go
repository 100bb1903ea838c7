package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/thinpool"
	"thinctl/units"
)

func (a *app) poolExtend() *cli.Command {
	return a.leaf(leaf{
		name: "extend", args: "NAME", usage: "make a pool larger, while it is in use",
		about: "Metadata grows along with the data by rule. A pool never shrinks.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "data", Usage: "new data `SIZE`, or +SIZE for so much more"},
			&cli.StringFlag{Name: "metadata", Usage: "new metadata `SIZE`, or +SIZE for so much more"},
			&cli.BoolFlag{Name: "to-device", Usage: "take all of the block devices, after they were made larger"},
			dryRunFlag(),
		},
		run: (*call).extendPool, complete: (*call).poolNames,
	})
}

type extensionView struct {
	envelope
	DryRun     bool       `json:"dry_run"`
	Pool       string     `json:"pool"`
	Data       growthView `json:"data"`
	Metadata   growthView `json:"metadata"`
	StoodStill int64      `json:"io_stood_still_microseconds"`
}

type growthView struct {
	From units.Bytes `json:"from_bytes"`
	To   units.Bytes `json:"to_bytes"`
}

func (c *call) extendPool() error {
	targets := map[string]target{}
	var faults []error
	for _, flag := range []string{"data", "metadata"} {
		if c.flags.IsSet(flag) {
			t, err := parseTarget(c.flags.String(flag))
			targets[flag] = t
			faults = append(faults, err)
		}
	}
	if len(targets) == 0 && !c.flags.Bool("to-device") {
		return c.misuse("how far? give --data, --metadata or --to-device")
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		options := thinpool.ExtendOptions{ToDevice: c.flags.Bool("to-device"), DryRun: c.flags.Bool("dry-run"),
			Data: targets["data"].size, DataMore: targets["data"].more,
			Metadata: targets["metadata"].size, MetadataMore: targets["metadata"].more}
		done := c.progress("extending pool %s", pool.Name())
		e, err := pool.Extend(c.ctx, options)
		done()
		if err != nil {
			return err
		}
		view := extensionView{envelope: schema(), DryRun: options.DryRun, Pool: pool.Name(), Data: growthView{e.DataFrom, e.DataTo},
			Metadata: growthView{e.MetadataFrom, e.MetadataTo}, StoodStill: e.StoodStill.Microseconds()}
		return c.show(view, view.write)
	})
}

func (v extensionView) write(w io.Writer) {
	if v.Data.From == v.Data.To && v.Metadata.From == v.Metadata.To {
		fmt.Fprintf(w, "pool %s has these sizes already\n", v.Pool)
		return
	}
	verb := "extended"
	if v.DryRun {
		verb = "would be extended"
	}
	fmt.Fprintf(w, "pool %s %s:\n", v.Pool, verb)
	fact(w, "Data", v.Data)
	fact(w, "Metadata", v.Metadata)
}

func (v growthView) String() string {
	if v.From == v.To {
		return fmt.Sprintf("%s, unchanged", v.From)
	}
	return fmt.Sprintf("%s to %s", v.From, v.To)
}

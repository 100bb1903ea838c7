package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/thinpool"
	"thinctl/units"
)

func (a *app) poolSet() *cli.Command {
	return a.leaf(leaf{
		name: "set", args: "NAME", usage: "change what new volumes get and must leave free",
		about: "What is not given stays as it is. Holds from the next volume on; the volumes that are there keep their size.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "base-size", DefaultText: "as it is", Usage: "`SIZE` of a volume that is made without one"},
			&cli.IntFlag{Name: "reserve-data", DefaultText: "as it is", Usage: "`PERCENT` of the data that new volumes must leave free"},
			&cli.IntFlag{Name: "reserve-metadata", DefaultText: "as it is", Usage: "`PERCENT` of the metadata"},
			&cli.IntFlag{Name: "reserve-host", DefaultText: "as it is", Usage: "`PERCENT` of the file system under the files"},
			dryRunFlag(),
		},
		run: (*call).setPool, complete: (*call).poolNames,
	})
}

type setView struct {
	envelope
	DryRun bool         `json:"dry_run"`
	Pool   string       `json:"pool"`
	From   settingsView `json:"from"`
	To     settingsView `json:"to"`
}

type settingsView struct {
	BaseBytes units.Bytes `json:"base_size_bytes"`
	Reserve   reserveView `json:"reserve_percent"`
}

func (c *call) setPool() error {
	options := thinpool.SetOptions{DryRun: c.flags.Bool("dry-run")}
	asked := c.flags.IsSet("base-size")
	for flag, into := range map[string]**int{
		"reserve-data": &options.ReserveData, "reserve-metadata": &options.ReserveMetadata, "reserve-host": &options.ReserveHost,
	} {
		if c.flags.IsSet(flag) {
			percent := c.flags.Int(flag)
			*into, asked = &percent, true
		}
	}
	if !asked {
		return c.misuse("what? give --base-size, --reserve-data, --reserve-metadata or --reserve-host")
	}
	if c.flags.IsSet("base-size") {
		size, err := units.Parse(c.flags.String("base-size"))
		if err == nil && size == 0 {
			err = errors.New("0 is nothing")
		}
		if err != nil {
			return &usageError{why: "--base-size: " + err.Error()}
		}
		options.BaseSize = size
	}
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		before, after, err := pool.Set(c.ctx, options)
		if err != nil {
			return err
		}
		view := setView{envelope: schema(), DryRun: options.DryRun, Pool: pool.Name(), From: newSettingsView(before), To: newSettingsView(after)}
		return c.show(view, view.write)
	})
}

func newSettingsView(s thinpool.Settings) settingsView {
	return settingsView{BaseBytes: s.BaseSize, Reserve: reserveView(s.Reserve)}
}

func (v setView) write(w io.Writer) {
	if v.From == v.To {
		fmt.Fprintf(w, "pool %s has these settings already\n", v.Pool)
		return
	}
	verb := "set"
	if v.DryRun {
		verb = "would be set"
	}
	fmt.Fprintf(w, "pool %s %s:\n", v.Pool, verb)
	fact(w, "Base size", growthView{v.From.BaseBytes, v.To.BaseBytes})
	fact(w, "Data reserve", fromTo(v.From.Reserve.Data, v.To.Reserve.Data))
	fact(w, "Metadata reserve", fromTo(v.From.Reserve.Metadata, v.To.Reserve.Metadata))
	fact(w, "Host reserve", fromTo(v.From.Reserve.Host, v.To.Reserve.Host))
}

func fromTo(from, to int) string {
	if from == to {
		return fmt.Sprintf("%d%%, unchanged", from)
	}
	return fmt.Sprintf("%d%% to %d%%", from, to)
}

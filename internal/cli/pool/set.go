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

func setCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "set", Args: "NAME", Usage: "change the base size and the reserves of a pool",
		About: "Settings without a flag are kept. Takes effect with the next volume; existing volumes keep their size.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "base-size", DefaultText: "unchanged", Usage: "default `SIZE` of a volume"},
			&cli.IntFlag{Name: "reserve-data", DefaultText: "unchanged",
				Usage: "keep this `PERCENT` of the data free: refuse new volumes below it"},
			&cli.IntFlag{Name: "reserve-metadata", DefaultText: "unchanged", Usage: "keep this `PERCENT` of the metadata free"},
			&cli.IntFlag{Name: "reserve-host", DefaultText: "unchanged",
				Usage: "keep this `PERCENT` of the host's file system free"},
			command.DryRunFlag(),
		},
		Run: setPool, Complete: (*command.Call).PoolNames,
	})
}

type setView struct {
	output.Envelope
	DryRun bool         `json:"dry_run"`
	Pool   string       `json:"pool"`
	From   settingsView `json:"from"`
	To     settingsView `json:"to"`
}

type settingsView struct {
	BaseBytes units.Bytes `json:"base_size_bytes"`
	Reserve   reserveView `json:"reserve_percent"`
}

func setPool(c *command.Call) error {
	options := thinpool.SetOptions{DryRun: c.Flags.Bool("dry-run")}
	asked := c.Flags.IsSet("base-size")
	for flag, into := range map[string]**int{
		"reserve-data": &options.ReserveData, "reserve-metadata": &options.ReserveMetadata,
		"reserve-host": &options.ReserveHost,
	} {
		if c.Flags.IsSet(flag) {
			percent := c.Flags.Int(flag)
			*into, asked = &percent, true
		}
	}
	if !asked {
		return c.Misuse("no setting given: use --base-size, --reserve-data, --reserve-metadata or --reserve-host")
	}
	if c.Flags.IsSet("base-size") {
		size, err := units.Parse(c.Flags.String("base-size"))
		if err == nil && size == 0 {
			err = errors.New("must be above zero")
		}
		if err != nil {
			return &exit.UsageError{Why: "--base-size: " + err.Error()}
		}
		options.BaseSize = size
	}
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		before, after, err := pool.Set(c.Ctx, options)
		if err != nil {
			return err
		}
		view := setView{Envelope: output.Schema(), DryRun: options.DryRun, Pool: pool.Name(),
			From: newSettingsView(before), To: newSettingsView(after)}
		return c.Show(view, view.write)
	})
}

func newSettingsView(s thinpool.Settings) settingsView {
	return settingsView{BaseBytes: s.BaseSize, Reserve: reserveView(s.Reserve)}
}

func (v setView) write(w io.Writer) {
	if v.From == v.To {
		fmt.Fprintf(w, "pool %s already has these settings\n", v.Pool)
		return
	}
	verb := "set"
	if v.DryRun {
		verb = "would be set"
	}
	fmt.Fprintf(w, "pool %s %s:\n", v.Pool, verb)
	output.Field(w, "Base size", growthView{v.From.BaseBytes, v.To.BaseBytes})
	output.Field(w, "Data reserve", fromTo(v.From.Reserve.Data, v.To.Reserve.Data))
	output.Field(w, "Metadata reserve", fromTo(v.From.Reserve.Metadata, v.To.Reserve.Metadata))
	output.Field(w, "Host reserve", fromTo(v.From.Reserve.Host, v.To.Reserve.Host))
}

func fromTo(from, to int) string {
	if from == to {
		return fmt.Sprintf("%d%%, unchanged", from)
	}
	return fmt.Sprintf("%d%% to %d%%", from, to)
}

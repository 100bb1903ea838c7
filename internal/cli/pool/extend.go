package pool

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/thinpool"
	"thinctl/units"
)

func extendCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "extend", Args: "NAME", Usage: "make a pool larger, also while it is in use",
		About: "The metadata grows with the data. A pool never shrinks.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "data", Usage: "new data `SIZE`, or +SIZE to add that much"},
			&cli.StringFlag{Name: "metadata", Usage: "new metadata `SIZE`, or +SIZE to add that much"},
			&cli.BoolFlag{Name: "to-device", Usage: "use the full size of block devices that have grown"},
			command.DryRunFlag(),
		},
		Run: extendPool, Complete: (*command.Call).PoolNames,
	})
}

type extensionView struct {
	output.Envelope
	DryRun    bool       `json:"dry_run"`
	Pool      string     `json:"pool"`
	Data      growthView `json:"data"`
	Metadata  growthView `json:"metadata"`
	Suspended int64      `json:"io_stood_still_microseconds"`
}

type growthView struct {
	From units.Bytes `json:"from_bytes"`
	To   units.Bytes `json:"to_bytes"`
}

func extendPool(c *command.Call) error {
	targets := map[string]command.Growth{}
	var faults []error
	for _, flag := range []string{"data", "metadata"} {
		if c.Flags.IsSet(flag) {
			t, err := command.ParseGrowth(c.Flags.String(flag))
			targets[flag] = t
			faults = append(faults, err)
		}
	}
	if len(targets) == 0 && !c.Flags.Bool("to-device") {
		return c.Misuse("no size given: use --data, --metadata or --to-device")
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		options := thinpool.ExtendOptions{ToDevice: c.Flags.Bool("to-device"), DryRun: c.Flags.Bool("dry-run"),
			Data: targets["data"].Size, DataMore: targets["data"].More,
			Metadata: targets["metadata"].Size, MetadataMore: targets["metadata"].More}
		done := c.Progress("extending pool %s", pool.Name())
		e, err := pool.Extend(c.Ctx, options)
		done()
		if err != nil {
			return err
		}
		view := extensionView{Envelope: output.Schema(), DryRun: options.DryRun, Pool: pool.Name(),
			Data:     growthView{e.DataFrom, e.DataTo},
			Metadata: growthView{e.MetadataFrom, e.MetadataTo}, Suspended: e.Suspended.Microseconds()}
		return c.Show(view, view.write)
	})
}

func (v extensionView) write(w io.Writer) {
	if v.Data.From == v.Data.To && v.Metadata.From == v.Metadata.To {
		fmt.Fprintf(w, "pool %s already has these sizes\n", v.Pool)
		return
	}
	verb := "extended"
	if v.DryRun {
		verb = "would be extended"
	}
	fmt.Fprintf(w, "pool %s %s:\n", v.Pool, verb)
	output.Field(w, "Data", v.Data)
	output.Field(w, "Metadata", v.Metadata)
}

func (v growthView) String() string {
	if v.From == v.To {
		return fmt.Sprintf("%s, unchanged", v.From)
	}
	return fmt.Sprintf("%s to %s", v.From, v.To)
}

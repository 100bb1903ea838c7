package pool

import (
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/thinpool"
	"thinctl/units"
)

func usageCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "usage", Args: "POOL [VOLUME...]", Usage: "show the exact space of each volume in a pool",
		About: "Exclusive space is mapped by one volume only and is freed when the volume is removed; the exclusive " +
			"parts and the shared part add up to the used space. " +
			"With --freed it also shows the space that is freed when all the named volumes are removed. " +
			"An active pool is read from a metadata snapshot, and stays in use.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "freed",
			Usage: "show the space that is freed when these volumes are removed together"}},
		Run: showUsage, Complete: usageWords,
	})
}

// usageWords proposes pools, then volumes.
func usageWords(c *command.Call) []string {
	if len(c.Args) == 0 {
		return c.PoolNames()
	}
	return c.VolumeNames()
}

type usageView struct {
	output.Envelope
	Pool          string      `json:"pool"`
	Active        bool        `json:"active"`
	Taken         time.Time   `json:"taken"`
	TransactionID uint64      `json:"transaction_id"`
	Block         units.Bytes `json:"block_bytes"`

	Total     units.Bytes `json:"total_bytes"`
	Used      units.Bytes `json:"used_bytes"`
	Free      units.Bytes `json:"free_bytes"`
	Exclusive units.Bytes `json:"exclusive_bytes"`
	Shared    units.Bytes `json:"shared_bytes"`
	Metadata  units.Bytes `json:"metadata_bytes"`
	Trees     units.Bytes `json:"metadata_tree_bytes"`

	Volumes []volumeUsageView `json:"volumes"`
	Freed   *freedView        `json:"freed,omitempty"`
}

type volumeUsageView struct {
	thinView
	Size      *units.Bytes `json:"size_bytes"`
	Mapped    units.Bytes  `json:"mapped_bytes"`
	Exclusive units.Bytes  `json:"exclusive_bytes"`
	Shared    units.Bytes  `json:"shared_bytes"`
}

// thinView is the JSON of a thin device.
type thinView struct {
	Volume  string `json:"volume"` // "" if no volume has the id
	ID      uint32 `json:"id"`
	Removed bool   `json:"removed,omitempty"`
	label   string
}

func newThinView(t thinpool.Thin) thinView { return thinView{t.Name, t.ID, t.Removed, t.String()} }

type freedView struct {
	Volumes []string    `json:"volumes"`
	Bytes   units.Bytes `json:"bytes"`
}

func showUsage(c *command.Call) error {
	volumes, asked := c.Args[1:], c.Flags.Bool("freed")
	switch {
	case asked && len(volumes) == 0:
		return c.Misuse("--freed needs the names of volumes")
	case !asked && len(volumes) > 0:
		return c.Misuse("names of volumes need --freed")
	}
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		done := c.Progress("reading the metadata of pool %s", pool.Name())
		usage, err := pool.Usage(c.Ctx, thinpool.UsageOptions{Freed: volumes})
		done()
		if err != nil {
			return err
		}
		view := newUsageView(pool.Name(), usage)
		if asked {
			view.Freed = &freedView{volumes, usage.Freed}
		}
		return c.Show(view, view.write)
	})
}

func newUsageView(pool string, u thinpool.Usage) usageView {
	view := usageView{
		Envelope: output.Schema(), Pool: pool, Active: u.Active, Taken: u.Taken.UTC(), TransactionID: u.TransactionID,
		Block: u.Block,
		Total: u.Total, Used: u.Used, Free: u.Free, Exclusive: u.Exclusive, Shared: u.Shared,
		Metadata: u.MetadataTotal, Trees: u.MetadataTrees, Volumes: []volumeUsageView{},
	}
	for _, v := range u.Volumes {
		one := volumeUsageView{thinView: newThinView(v.Thin), Mapped: v.Mapped, Exclusive: v.Exclusive, Shared: v.Shared}
		if v.Size != 0 {
			one.Size = &v.Size
		}
		view.Volumes = append(view.Volumes, one)
	}
	return view
}

func (v usageView) write(w io.Writer) {
	output.Row(w, "VOLUME", "SIZE", "MAPPED", "EXCLUSIVE", "SHARED")
	for _, one := range v.Volumes {
		output.Row(w, one.label, output.Size(one.Size), one.Mapped, one.Exclusive, one.Shared)
	}
	fmt.Fprintf(w, "\npool %s: %s used of %s (%s): %s exclusive, %s shared; %s free\n",
		v.Pool, v.Used, v.Total, output.Percent(v.Used, v.Total), v.Exclusive, v.Shared, v.Free)
	fmt.Fprintf(w, "metadata: %s of %s in the volumes' trees\n", v.Trees, v.Metadata)
	if v.Freed != nil {
		fmt.Fprintf(w, "%s is freed when %s\n", v.Freed.Bytes, output.Removed(v.Freed.Volumes))
	}
}

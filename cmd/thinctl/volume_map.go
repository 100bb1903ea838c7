package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/thinpool"
	"thinctl/units"
)

func (a *app) volumeMap() *cli.Command {
	return a.leaf(leaf{
		name: "map", args: "POOL VOLUME", usage: "list where a volume's blocks lie",
		about: "Each run is a stretch of the volume in one place of the pool's data, with the pool's time when it was written; the time goes up by one with each snapshot.",
		run:   (*call).mapVolume, complete: (*call).volumeOnce,
	})
}

type volumeRunView struct {
	Virtual units.Bytes `json:"virtual_bytes"`
	Data    units.Bytes `json:"data_bytes"`
	Length  units.Bytes `json:"length_bytes"`
	Time    uint32      `json:"time"`
}

type volumeMapSum struct {
	Runs   int         `json:"run_count"`
	Mapped units.Bytes `json:"mapped_bytes"`
}

func (s volumeMapSum) write(w io.Writer) {
	fmt.Fprintf(w, "\nmapped: %s in %s\n", s.Mapped, plural(s.Runs, "run"))
}

// volumeHead begins the results about one volume's blocks.
type volumeHead struct {
	envelope
	Pool   string `json:"pool"`
	Volume string `json:"volume"`
}

func (c *call) mapVolume() error {
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		done := c.progress("reading the metadata of pool %s", pool.Name())
		runs, err := pool.VolumeMap(c.ctx, c.arg(1))
		done()
		if err != nil {
			return err
		}
		return c.list(volumeHead{schema(), pool.Name(), c.arg(1)}, "runs", []any{"VIRTUAL", "DATA", "LENGTH", "TIME"},
			func(add func(any, ...any) error) (tail, error) {
				var sum volumeMapSum
				for _, r := range runs {
					sum.Runs++
					sum.Mapped += r.Length
					if err := add(volumeRunView(r), r.Virtual.Exact(), r.Data.Exact(), r.Length.Exact(), r.Time); err != nil {
						return nil, err
					}
				}
				return sum, nil
			})
	})
}

func (a *app) volumeDelta() *cli.Command {
	return a.leaf(leaf{
		name: "delta", args: "POOL A B", usage: "list how two volumes differ",
		about: "Ranges are different, left_only (A alone has blocks there) or right_only. " +
			"Blocks are compared by where they lie, not by what is in them: what two volumes share is the same, all else is not.",
		flags: []cli.Flag{&cli.BoolFlag{Name: "same", Usage: "list what is the same, too; all of it is read for that"}},
		run:   (*call).deltaVolumes, complete: (*call).volumeTwice,
	})
}

// volumeTwice proposes POOL and then two of its volumes.
func (c *call) volumeTwice() []string {
	if len(splitAddress(c.args, c.argNames())) > 2 {
		return nil
	}
	return c.volumeNames()
}

type volumeDifferenceView struct {
	Kind    string      `json:"kind"`
	Virtual units.Bytes `json:"virtual_bytes"`
	Length  units.Bytes `json:"length_bytes"`
}

func (c *call) deltaVolumes() error {
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		same := c.flags.Bool("same")
		done := c.progress("reading the metadata of pool %s", pool.Name())
		delta, err := pool.VolumeDelta(c.ctx, c.arg(1), c.arg(2), same)
		done()
		if err != nil {
			return err
		}
		head := struct {
			envelope
			Pool  string `json:"pool"`
			Left  string `json:"left"`
			Right string `json:"right"`
		}{schema(), pool.Name(), c.arg(1), c.arg(2)}
		return c.list(head, "ranges", []any{"KIND", "VIRTUAL", "LENGTH"}, func(add func(any, ...any) error) (tail, error) {
			sum := newVolumeDeltaSum(same)
			for _, d := range delta.Differences {
				*sum.of(d.Kind) += d.Length
				if err := add(volumeDifferenceView{d.Kind.String(), d.Virtual, d.Length}, d.Kind, d.Virtual.Exact(), d.Length.Exact()); err != nil {
					return nil, err
				}
			}
			return sum, nil
		})
	})
}

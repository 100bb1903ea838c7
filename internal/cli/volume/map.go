package volume

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/thinpool"
	"thinctl/units"
)

func mapCommand(a *command.Environment) *cli.Command {
	return a.Command(command.Spec{
		Name: "map", Args: "POOL VOLUME", Usage: "list where a volume's blocks lie",
		About: "Each run is a stretch of the volume in one place of the pool's data, with the pool's time when it was written; the time goes up by one with each snapshot.",
		Run:   mapVolume, Complete: (*command.Call).VolumeOnce,
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

func (s volumeMapSum) Write(w io.Writer) {
	fmt.Fprintf(w, "\nmapped: %s in %s\n", s.Mapped, output.Plural(s.Runs, "run"))
}

// volumeHead begins the results about one volume's blocks.
type volumeHead struct {
	output.Envelope
	Pool   string `json:"pool"`
	Volume string `json:"volume"`
}

func mapVolume(c *command.Call) error {
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		done := c.Progress("reading the metadata of pool %s", pool.Name())
		runs, err := pool.VolumeMap(c.Ctx, c.Arg(1))
		done()
		if err != nil {
			return err
		}
		return c.List(volumeHead{output.Schema(), pool.Name(), c.Arg(1)}, "runs", []any{"VIRTUAL", "DATA", "LENGTH", "TIME"},
			func(add func(any, ...any) error) (output.Tail, error) {
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

func deltaCommand(a *command.Environment) *cli.Command {
	return a.Command(command.Spec{
		Name: "delta", Args: "POOL A B", Usage: "list how two volumes differ",
		About: "Ranges are different, left_only (A alone has blocks there) or right_only. " +
			"Blocks are compared by where they lie, not by what is in them: what two volumes share is the same, all else is not.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "same", Usage: "list what is the same, too; all of it is read for that"}},
		Run:   deltaVolumes, Complete: (*command.Call).VolumePair,
	})
}

type volumeDifferenceView struct {
	Kind    string      `json:"kind"`
	Virtual units.Bytes `json:"virtual_bytes"`
	Length  units.Bytes `json:"length_bytes"`
}

func deltaVolumes(c *command.Call) error {
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		same := c.Flags.Bool("same")
		done := c.Progress("reading the metadata of pool %s", pool.Name())
		delta, err := pool.VolumeDelta(c.Ctx, c.Arg(1), c.Arg(2), same)
		done()
		if err != nil {
			return err
		}
		head := struct {
			output.Envelope
			Pool  string `json:"pool"`
			Left  string `json:"left"`
			Right string `json:"right"`
		}{output.Schema(), pool.Name(), c.Arg(1), c.Arg(2)}
		return c.List(head, "ranges", []any{"KIND", "VIRTUAL", "LENGTH"}, func(add func(any, ...any) error) (output.Tail, error) {
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

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

func mapCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "map", Args: "POOL VOLUME", Usage: "list the data blocks of a volume",
		About: "Each run is a part of the volume that is contiguous in the pool's data, with the pool's time at which " +
			"it was written. Each snapshot adds one to that time.",
		Run: mapVolume, Complete: (*command.Call).VolumeOnce,
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

// volumeHead is the start of results about the blocks of one volume.
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

func deltaCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "delta", Args: "POOL A B", Usage: "list the differences between two volumes",
		About: "A range is different, left_only (only A has blocks there) or right_only. " +
			"Compares the location of blocks, not their contents: shared blocks are the same, all others differ.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "same", Usage: "also list what is the same, which reads all mappings"}},
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
		return c.List(head, "ranges", []any{"KIND", "VIRTUAL", "LENGTH"},
			func(add func(any, ...any) error) (output.Tail, error) {
				sum := newVolumeDeltaSum(same)
				for _, d := range delta.Differences {
					*sum.of(d.Kind) += d.Length
					if err := add(volumeDifferenceView{d.Kind.String(), d.Virtual, d.Length}, d.Kind, d.Virtual.Exact(),
						d.Length.Exact()); err != nil {
						return nil, err
					}
				}
				return sum, nil
			})
	})
}

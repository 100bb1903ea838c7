package metadata

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

func deltaCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "delta", Args: "FILE A B", Usage: "list the blocks that differ between two thin devices",
		About: "A range of virtual blocks is different, left_only (only A maps it) or right_only, as thin_delta prints it. " +
			"Shared parts are not read, so a snapshot is compared with its origin quickly.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "same", Usage: "also list what is the same, which reads all mappings"},
			&cli.BoolFlag{Name: "data", Usage: "also print the data blocks of each range, which are consecutive then"},
			heldFlag(),
		},
		Run: deltaMetadata,
	})
}

type differenceView struct {
	Kind    string  `json:"kind"`
	Virtual uint64  `json:"virtual_block"`
	Blocks  uint64  `json:"blocks"`
	Left    *uint64 `json:"left_data_block,omitempty"`
	Right   *uint64 `json:"right_data_block,omitempty"`
}

// deltaSum counts the blocks of each kind.
type deltaSum struct {
	Different uint64  `json:"different_blocks"`
	LeftOnly  uint64  `json:"left_only_blocks"`
	RightOnly uint64  `json:"right_only_blocks"`
	Same      *uint64 `json:"same_blocks,omitempty"` // with --same

	block units.Bytes
}

func (d *deltaSum) add(one metadata.Difference) {
	switch one.Kind {
	case metadata.Different:
		d.Different += one.Blocks
	case metadata.LeftOnly:
		d.LeftOnly += one.Blocks
	case metadata.RightOnly:
		d.RightOnly += one.Blocks
	case metadata.Same:
		*d.Same += one.Blocks
	}
}

func (d *deltaSum) Write(w io.Writer) {
	fmt.Fprintln(w)
	for _, kind := range []struct {
		kind   metadata.DeltaKind
		blocks *uint64
	}{{metadata.Different, &d.Different}, {metadata.LeftOnly, &d.LeftOnly}, {metadata.RightOnly, &d.RightOnly},
		{metadata.Same, d.Same}} {
		if kind.blocks != nil {
			fmt.Fprintf(w, "%v: %s, %d blocks\n", kind.kind, times(*kind.blocks, d.block), *kind.blocks)
		}
	}
}

func deltaMetadata(c *command.Call) error {
	left, err := deviceID(c, 1)
	if err != nil {
		return err
	}
	right, err := deviceID(c, 2)
	if err != nil {
		return err
	}
	o := metadata.DeltaOptions{Same: c.Flags.Bool("same"), Data: c.Flags.Bool("data")}
	return onMetadata(c, c.Arg(0), func(s *source) error {
		return listDelta(c, s, left, right, o)
	})
}

func listDelta(c *command.Call, s *source, left, right uint32, o metadata.DeltaOptions) error {
	sum := &deltaSum{block: s.root.DataBlockSize.Bytes()}
	if o.Same {
		sum.Same = new(uint64)
	}
	head := struct {
		output.Envelope
		Path       string      `json:"path"`
		Left       uint32      `json:"left_device_id"`
		Right      uint32      `json:"right_device_id"`
		BlockBytes units.Bytes `json:"block_bytes"`
	}{output.Schema(), s.path, left, right, sum.block}
	columns := []any{"KIND", "VIRTUAL BLOCK", "BLOCKS"}
	if o.Data {
		columns = append(columns, "LEFT DATA BLOCK", "RIGHT DATA BLOCK")
	}
	return c.List(head, "ranges", columns, func(add func(any, ...any) error) (output.Tail, error) {
		err := metadata.Delta(c.Ctx, s, s.root, left, right, o, func(d metadata.Difference) error {
			sum.add(d)
			view := differenceView{Kind: d.Kind.String(), Virtual: d.Virtual, Blocks: d.Blocks}
			cells := []any{view.Kind, d.Virtual, d.Blocks}
			if o.Data {
				cells = append(cells, "-", "-")
				if d.Kind != metadata.RightOnly {
					view.Left, cells[3] = &d.Left, d.Left
				}
				if d.Kind != metadata.LeftOnly {
					view.Right, cells[4] = &d.Right, d.Right
				}
			}
			return add(view, cells...)
		})
		return sum, s.about(err)
	})
}

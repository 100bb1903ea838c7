package metadata

import (
	"fmt"
	"io"
	"strconv"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

func mapCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "map", Args: "FILE ID", Usage: "list the data blocks of a thin device",
		About: "Prints runs of virtual blocks in consecutive data blocks, each with the pool's time at which it was written.",
		Flags: []cli.Flag{heldFlag()}, Run: mapMetadata,
	})
}

type runView struct {
	Virtual uint64 `json:"virtual_block"`
	Data    uint64 `json:"data_block"`
	Blocks  uint64 `json:"blocks"`
	Time    uint32 `json:"time"`
}

// mapped is the sum of a map.
type mapped struct {
	Runs   uint64      `json:"run_count"`
	Blocks uint64      `json:"mapped_blocks"`
	Bytes  units.Bytes `json:"mapped_bytes"`
}

func (m mapped) Write(w io.Writer) {
	fmt.Fprintf(w, "\nmapped: %s, %d blocks in %d runs\n", m.Bytes, m.Blocks, m.Runs)
}

func mapMetadata(c *command.Call) error {
	id, err := deviceID(c, 1)
	if err != nil {
		return err
	}
	return onMetadata(c, c.Arg(0), func(s *source) error {
		block := s.root.DataBlockSize.Bytes()
		head := struct {
			output.Envelope
			Path       string      `json:"path"`
			Device     uint32      `json:"device_id"`
			BlockBytes units.Bytes `json:"block_bytes"`
		}{output.Schema(), s.path, id, block}
		return c.List(head, "runs", []any{"VIRTUAL BLOCK", "DATA BLOCK", "BLOCKS", "TIME"},
			func(add func(any, ...any) error) (output.Tail, error) {
				var sum mapped
				err := metadata.Runs(c.Ctx, s, s.root, id, func(r metadata.Run) error {
					sum.Runs++
					sum.Blocks += r.Blocks
					return add(runView(r), r.Virtual, r.Data, r.Blocks, r.Time)
				})
				sum.Bytes = times(sum.Blocks, block)
				return sum, s.about(err)
			})
	})
}

// about adds the name of the metadata to an error.
func (s *source) about(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("metadata %s: %w", s.path, err)
}

// deviceID parses an argument that is the id of a thin device.
func deviceID(c *command.Call, n int) (uint32, error) {
	return parseDeviceID(c, c.Arg(n))
}

func parseDeviceID(c *command.Call, text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil || id > metadata.MaxDeviceID {
		return 0, c.Misuse("%q is not the id of a thin device: use a number up to %d", text, metadata.MaxDeviceID)
	}
	return uint32(id), nil
}

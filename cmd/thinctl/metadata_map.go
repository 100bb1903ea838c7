package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/urfave/cli/v2"

	"thinctl/thinpool/metadata"
	"thinctl/units"
)

func (a *app) metadataMap() *cli.Command {
	return a.leaf(leaf{
		name: "map", args: "FILE ID", usage: "list where a thin device's blocks lie",
		about: "Runs of virtual blocks in consecutive data blocks, each with the pool's time when it was written.",
		flags: []cli.Flag{heldFlag()}, run: (*call).mapMetadata,
	})
}

type runView struct {
	Virtual uint64 `json:"virtual_block"`
	Data    uint64 `json:"data_block"`
	Blocks  uint64 `json:"blocks"`
	Time    uint32 `json:"time"`
}

// mapped sums a map up.
type mapped struct {
	Runs   uint64      `json:"run_count"`
	Blocks uint64      `json:"mapped_blocks"`
	Bytes  units.Bytes `json:"mapped_bytes"`
}

func (m mapped) write(w io.Writer) {
	fmt.Fprintf(w, "\nmapped: %s, %d blocks in %d runs\n", m.Bytes, m.Blocks, m.Runs)
}

func (c *call) mapMetadata() error {
	id, err := c.deviceID(1)
	if err != nil {
		return err
	}
	return c.onMetadata(c.arg(0), func(s *source) error {
		block := s.root.DataBlockSize.Bytes()
		head := struct {
			envelope
			Path       string      `json:"path"`
			Device     uint32      `json:"device_id"`
			BlockBytes units.Bytes `json:"block_bytes"`
		}{schema(), s.path, id, block}
		return c.list(head, "runs", []any{"VIRTUAL BLOCK", "DATA BLOCK", "BLOCKS", "TIME"}, func(add func(any, ...any) error) (tail, error) {
			var sum mapped
			err := metadata.Runs(c.ctx, s, s.root, id, func(r metadata.Run) error {
				sum.Runs++
				sum.Blocks += r.Blocks
				return add(runView(r), r.Virtual, r.Data, r.Blocks, r.Time)
			})
			sum.Bytes = times(sum.Blocks, block)
			return sum, s.about(err)
		})
	})
}

// about says which metadata an error is about.
func (s *source) about(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("metadata %s: %w", s.path, err)
}

// deviceID reads an argument that is the id of a thin device.
func (c *call) deviceID(n int) (uint32, error) {
	id, err := strconv.ParseUint(c.arg(n), 10, 32)
	if err != nil || id > metadata.MaxDeviceID {
		return 0, c.misuse("%q is no id of a thin device, which is a number up to %d", c.arg(n), metadata.MaxDeviceID)
	}
	return uint32(id), nil
}

package metadata

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/fault"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/output"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

func ownersCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "owners", Args: "FILE BEGIN-END", Usage: "list the thin devices that map a range of data blocks",
		About: "BEGIN and END are numbers of data blocks, without the block END itself; BEGIN alone is one block. " +
			"With a suffix, such as 0-1G, both are offsets in bytes on the data device; the range covers every block that " +
			"it touches. " +
			"A shared block is listed once for each device that maps it. A block that is not listed is free.",
		Flags: []cli.Flag{heldFlag()}, Run: ownersInMetadata,
	})
}

type metadataOwnerView struct {
	Data    uint64 `json:"data_block"`
	Blocks  uint64 `json:"blocks"`
	Device  uint32 `json:"device_id"`
	Virtual uint64 `json:"virtual_block"`
	Time    uint32 `json:"time"`
}

// owned is the sum of a listing: mapped and free blocks add up to the range.
type owned struct {
	Mapped      uint64      `json:"mapped_blocks"`
	MappedBytes units.Bytes `json:"mapped_bytes"`
	Free        uint64      `json:"free_blocks"`
	FreeBytes   units.Bytes `json:"free_bytes"`

	next uint64 // the first block that is not counted yet
}

func (o *owned) add(one metadata.Owner) {
	begin, end := max(one.Data, o.next), one.Data+one.Blocks
	if end > begin {
		o.Mapped += end - begin
		o.next = end
	}
}

func (o *owned) Write(w io.Writer) {
	fmt.Fprintf(w, "\nmapped: %s, %d blocks\nfree: %s, %d blocks\n", o.MappedBytes, o.Mapped, o.FreeBytes, o.Free)
}

func ownersInMetadata(c *command.Call) error {
	span, err := parseSpan(c, c.Arg(1))
	if err != nil {
		return err
	}
	return onMetadata(c, c.Arg(0), func(s *source) error {
		begin, end, err := blocksOf(s, span)
		if err != nil {
			return err
		}
		m, err := scan(c, s)
		if err != nil {
			return s.about(err)
		}
		block := s.root.DataBlockSize.Bytes()
		head := struct {
			output.Envelope
			Path       string      `json:"path"`
			BlockBytes units.Bytes `json:"block_bytes"`
			Begin      uint64      `json:"begin_block"`
			End        uint64      `json:"end_block"` // not included
		}{output.Schema(), s.path, block, begin, end}
		return c.List(head, "owners", []any{"DATA BLOCK", "BLOCKS", "DEVICE", "VIRTUAL BLOCK", "TIME"},
			func(add func(any, ...any) error) (output.Tail, error) {
				sum := &owned{}
				err := m.Owners(c.Ctx, begin, end, func(o metadata.Owner) error {
					sum.add(o)
					return add(metadataOwnerView{o.Data, o.Blocks, o.Device, o.Virtual, o.Time}, o.Data, o.Blocks, o.Device,
						o.Virtual, o.Time)
				})
				sum.Free = end - begin - sum.Mapped
				sum.MappedBytes, sum.FreeBytes = times(sum.Mapped, block), times(sum.Free, block)
				return sum, s.about(err)
			})
	})
}

// span is a range in data blocks or in bytes.
type span struct {
	begin, end uint64
	bytes      bool
}

func parseSpan(c *command.Call, text string) (span, error) {
	first, last, ranged := strings.Cut(text, "-")
	begin, err := strconv.ParseUint(first, 10, 64)
	end := begin + 1
	if err == nil && ranged {
		end, err = strconv.ParseUint(last, 10, 64)
	}
	s := span{begin, end, false}
	if err != nil {
		from, err := units.Parse(first)
		to := from + 1
		if err == nil && ranged {
			to, err = units.Parse(last)
		}
		if err != nil {
			return span{}, c.Misuse("%q is not a range: use data blocks such as 100-200, or bytes such as 0-1G", text)
		}
		s = span{uint64(from), uint64(to), true}
	}
	if s.begin >= s.end {
		return span{}, c.Misuse("range %q is empty: END must be above BEGIN", text)
	}
	return s, nil
}

// blocksOf converts a range to data blocks, up to the end of the data device.
func blocksOf(s *source, r span) (begin, end uint64, err error) {
	begin, end = r.begin, r.end
	if r.bytes {
		size := uint64(s.root.DataBlockSize.Bytes())
		begin, end = begin/size, (end-1)/size+1
	}
	have := s.dataBlocks()
	if begin >= have {
		return 0, 0, exit.Errorf(fault.NotFound,
			"metadata %s: data block %d is beyond the data device, which has %d", s.path, begin, have)
	}
	return begin, min(end, have), nil
}

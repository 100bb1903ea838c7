package metadata

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

func usageCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "usage", Args: "FILE", Usage: "show the space of each thin device, exclusive and shared",
		About: "Exclusive blocks are mapped by one device only and are freed when it is deleted; shared blocks are " +
			"mapped by several devices. " +
			"All exclusive blocks and all shared blocks, each counted once, add up to the used blocks. Blocks that only a " +
			"metadata snapshot maps are not counted.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "freed", Usage: "show the space that is freed when the device with this `ID` is " +
				"deleted; 1,2 or repeated means together"},
			heldFlag(),
		},
		Run: showUsage,
	})
}

type metadataUsageView struct {
	BlockBytes     units.Bytes           `json:"block_bytes"`
	Devices        []metadataDeviceUsage `json:"devices"`
	UsedBlocks     uint64                `json:"used_blocks"`
	UsedBytes      units.Bytes           `json:"used_bytes"`
	Exclusive      uint64                `json:"exclusive_blocks"`
	ExclusiveBytes units.Bytes           `json:"exclusive_bytes"`
	Shared         uint64                `json:"shared_blocks"`
	SharedBytes    units.Bytes           `json:"shared_bytes"`
	DataBlocks     uint64                `json:"data_blocks"` // of the data device
	DataBytes      units.Bytes           `json:"data_bytes"`
	Nodes          uint64                `json:"metadata_tree_blocks"`
	Freed          *metadataFreedView    `json:"freed,omitempty"`
}

type metadataDeviceUsage struct {
	ID             uint32      `json:"id"`
	Mapped         uint64      `json:"mapped_blocks"`
	MappedBytes    units.Bytes `json:"mapped_bytes"`
	Exclusive      uint64      `json:"exclusive_blocks"`
	ExclusiveBytes units.Bytes `json:"exclusive_bytes"`
	Shared         uint64      `json:"shared_blocks"`
	SharedBytes    units.Bytes `json:"shared_bytes"`
}

type metadataFreedView struct {
	Devices []uint32    `json:"device_ids"`
	Blocks  uint64      `json:"blocks"`
	Bytes   units.Bytes `json:"bytes"`
	// Pinned means that a metadata snapshot keeps its blocks until it is released.
	Pinned bool `json:"after_release_of_metadata_snapshot"`
}

func newMetadataUsageView(s *source, u metadata.Usage) *metadataUsageView {
	block := s.root.DataBlockSize.Bytes()
	v := &metadataUsageView{
		BlockBytes: block, Devices: []metadataDeviceUsage{}, UsedBlocks: u.Used, UsedBytes: times(u.Used, block),
		Exclusive: u.Exclusive, ExclusiveBytes: times(u.Exclusive, block), Shared: u.Shared,
		SharedBytes: times(u.Shared, block),
		DataBlocks:  s.dataBlocks(), DataBytes: times(s.dataBlocks(), block), Nodes: u.Nodes,
	}
	for _, d := range u.Devices {
		v.Devices = append(v.Devices, metadataDeviceUsage{ID: d.ID, Mapped: d.Mapped, MappedBytes: times(d.Mapped, block),
			Exclusive: d.Exclusive, ExclusiveBytes: times(d.Exclusive, block), Shared: d.Shared,
			SharedBytes: times(d.Shared, block)})
	}
	return v
}

func showUsage(c *command.Call) error {
	ids, err := deviceIDs(c, "freed")
	if err != nil {
		return err
	}
	return onMetadata(c, c.Arg(0), func(s *source) error {
		m, err := scan(c, s)
		var view *metadataUsageView
		if err == nil {
			view = newMetadataUsageView(s, m.Usage())
			if len(ids) > 0 {
				view.Freed = &metadataFreedView{Devices: ids, Pinned: s.live.HeldRoot != 0}
				view.Freed.Blocks, err = m.Freed(c.Ctx, ids...)
				view.Freed.Bytes = times(view.Freed.Blocks, view.BlockBytes)
			}
		}
		if err = s.finish(err); err != nil {
			return err
		}
		return c.Show(struct {
			output.Envelope
			Path string `json:"path"`
			Held bool   `json:"held"`
			*metadataUsageView
		}{output.Schema(), s.path, s.held != 0, view}, view.write)
	})
}

// scan reads all mappings and shows progress.
func scan(c *command.Call, s *source) (*metadata.Map, error) {
	read, done := c.Reading("reading metadata %s", s.path)
	defer done()
	return metadata.Scan(c.Ctx, s, s.root, metadata.ScanOptions{DataBlocks: s.dataBlocks(), Progress: read})
}

func (v *metadataUsageView) write(w io.Writer) {
	output.Row(w, "ID", "MAPPED", "EXCLUSIVE", "SHARED")
	for _, d := range v.Devices {
		output.Row(w, d.ID, d.MappedBytes, d.ExclusiveBytes, d.SharedBytes)
	}
	fmt.Fprintf(w, "\n%s used of %s (%s): %s exclusive, %s shared\n",
		v.UsedBytes, v.DataBytes, output.Percent(v.UsedBytes, v.DataBytes), v.ExclusiveBytes, v.SharedBytes)
	if v.Freed == nil {
		return
	}
	var ids []string
	for _, id := range v.Freed.Devices {
		ids = append(ids, strconv.FormatUint(uint64(id), 10))
	}
	fmt.Fprintf(w, "%s is freed when %s", v.Freed.Bytes, output.Removed(ids))
	if v.Freed.Pinned {
		fmt.Fprint(w, ", part of it possibly only after the metadata snapshot is released")
	}
	fmt.Fprintln(w)
}

// deviceIDs parses a flag with ids of thin devices.
func deviceIDs(c *command.Call, flag string) ([]uint32, error) {
	var ids []uint32
	for _, text := range c.Flags.StringSlice(flag) {
		id, err := parseDeviceID(c, strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

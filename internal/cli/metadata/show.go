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

func showCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "show", Args: "FILE", Usage: "show the superblock and list the thin devices",
		Flags: []cli.Flag{heldFlag()}, Run: showMetadata,
	})
}

type metadataView struct {
	Path          string           `json:"path"`
	Held          bool             `json:"held"` // the metadata snapshot is shown
	UUID          string           `json:"uuid,omitempty"`
	Version       uint32           `json:"version"`
	Time          uint32           `json:"time"`
	TransactionID uint64           `json:"transaction_id"`
	NeedsCheck    bool             `json:"needs_check"`
	HeldRoot      uint64           `json:"held_root"` // 0: none
	BlockBytes    units.Bytes      `json:"block_bytes"`
	DataTotal     units.Bytes      `json:"data_total_bytes"`
	DataUsed      units.Bytes      `json:"data_used_bytes"`
	MetadataTotal units.Bytes      `json:"metadata_total_bytes"`
	MetadataUsed  units.Bytes      `json:"metadata_used_bytes"`
	Devices       []thinDeviceView `json:"devices"`
}

type thinDeviceView struct {
	ID              uint32      `json:"id"`
	MappedBlocks    uint64      `json:"mapped_blocks"`
	MappedBytes     units.Bytes `json:"mapped_bytes"`
	TransactionID   uint64      `json:"transaction_id"`
	CreationTime    uint32      `json:"creation_time"`
	SnapshottedTime uint32      `json:"snapshotted_time"`
}

func showMetadata(c *command.Call) error {
	return onMetadata(c, c.Arg(0), func(s *source) error {
		devices, err := metadata.Devices(s, s.root)
		if err != nil {
			return s.about(err)
		}
		view := newMetadataView(s, devices)
		return c.Show(struct {
			output.Envelope
			Metadata metadataView `json:"metadata"`
		}{output.Schema(), view}, view.write)
	})
}

// newMetadataView reads the space from the live superblock, because a held root has none.
func newMetadataView(s *source, devices []metadata.Device) metadataView {
	block := s.root.DataBlockSize.Bytes()
	v := metadataView{
		Path: s.path, Held: s.root.Block != 0, Version: s.root.Version, Time: s.root.Time,
		TransactionID: s.root.TransactionID,
		NeedsCheck:    s.live.NeedsCheck(), HeldRoot: s.live.HeldRoot, BlockBytes: block,
		DataTotal: times(s.live.DataSpaceMap.Blocks, block), DataUsed: times(s.live.DataSpaceMap.Allocated, block),
		MetadataTotal: times(s.live.MetadataSpaceMap.Blocks, metadata.BlockSize),
		MetadataUsed:  times(s.live.MetadataSpaceMap.Allocated, metadata.BlockSize),
		Devices:       []thinDeviceView{},
	}
	if s.root.UUID != [16]byte{} {
		v.UUID = fmt.Sprintf("%x", s.root.UUID)
	}
	for _, d := range devices {
		v.Devices = append(v.Devices, thinDeviceView{ID: d.ID, MappedBlocks: d.MappedBlocks,
			MappedBytes:   times(d.MappedBlocks, block),
			TransactionID: d.TransactionID, CreationTime: d.CreationTime, SnapshottedTime: d.SnapshottedTime})
	}
	return v
}

func (v metadataView) write(w io.Writer) {
	root := "live superblock"
	if v.Held {
		root = "metadata snapshot"
	}
	held := "none"
	if v.HeldRoot != 0 {
		held = fmt.Sprintf("block %d", v.HeldRoot)
	}
	output.Field(w, "Metadata", v.Path)
	output.Field(w, "Shown", root)
	output.Field(w, "UUID", v.UUID)
	output.Field(w, "Version", v.Version)
	output.Field(w, "Transaction Id", v.TransactionID)
	output.Field(w, "Time", v.Time)
	output.Field(w, "Needs Check", output.YesNo(v.NeedsCheck))
	output.Field(w, "Metadata Snapshot", held)
	output.Field(w, "Pool Blocksize", v.BlockBytes)
	output.Field(w, "Data Space", output.UsedOf(&v.DataUsed, v.DataTotal))
	output.Field(w, "Metadata Space", output.UsedOf(&v.MetadataUsed, v.MetadataTotal))
	output.Field(w, "Devices", len(v.Devices))
	if len(v.Devices) == 0 {
		return
	}
	fmt.Fprintln(w)
	output.Row(w, "ID", "MAPPED", "BLOCKS", "TRANSACTION", "CREATED", "SNAPSHOTTED")
	for _, d := range v.Devices {
		output.Row(w, d.ID, d.MappedBytes, d.MappedBlocks, d.TransactionID, d.CreationTime, d.SnapshottedTime)
	}
}

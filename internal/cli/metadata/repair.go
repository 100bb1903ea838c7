package metadata

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/fault"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/output"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

func repairCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "repair", Args: "FILE", Usage: "write a repaired copy of metadata to another file or device",
		About: "Does not write to FILE. NEW is a new file, an empty file, or an empty block device. " +
			"Builds new counts and space maps, clears the needs_check flag and drops a metadata snapshot; keeps the uuid. " +
			"Exits 0 if nothing was lost, and 6 if something was lost; NEW is written in both cases, and the loss of each " +
			"device is listed. " +
			"Nothing can be repaired if the superblock cannot be read.",
		Flags: append(append([]cli.Flag{&cli.StringFlag{Name: "output", Aliases: []string{"o"},
			Usage: "write to this `NEW` file or device"}}, sizeFlags()...),
			&cli.Uint64Flag{Name: "data-blocks", Usage: "`NUMBER` of blocks of the data device, if the superblock has it " +
				"wrong"}, command.DryRunFlag()),
		Run: repairMetadata,
	})
}

type metadataRepairView struct {
	output.Envelope
	DryRun   bool              `json:"dry_run"`
	Path     string            `json:"path"`
	Output   string            `json:"output"`
	Lossless bool              `json:"lossless"`
	Complete bool              `json:"complete"` // every loss is listed
	Kept     uint64            `json:"kept_mappings"`
	Lost     uint64            `json:"lost_mappings"`
	Devices  []repairedDevice  `json:"devices"`
	Findings []metadataFinding `json:"findings"`
	New      writtenView       `json:"metadata"`
}

type repairedDevice struct {
	ID        uint32      `json:"id"`
	Kept      uint64      `json:"kept_mappings"`
	KeptBytes units.Bytes `json:"kept_bytes"`
	Lost      uint64      `json:"lost_mappings"`
	LostBytes units.Bytes `json:"lost_bytes"`
	State     string      `json:"state"` // whole, part, gone or details rebuilt
}

func repairMetadata(c *command.Call) error {
	blocks, err := askedBlocks(c)
	if err != nil {
		return err
	}
	target := c.Flags.String("output")
	if target == "" {
		return c.Misuse("--output NEW is missing: metadata is never repaired in place")
	}
	o := metadata.RepairOptions{Blocks: blocks, DataBlocks: c.Flags.Uint64("data-blocks")}
	return onDamaged(c, c.Arg(0), func(s *source) error {
		// The limit is the number of data blocks that the bitmaps of the largest metadata can
		// count.
		if data := s.live.DataSpaceMap.Blocks; s.live.Version != 0 && o.DataBlocks == 0 &&
			(data == 0 || data > metadata.MaxBlocks*16320) {
			return exit.Errorf(fault.Unhealthy, "metadata %s: the superblock has an impossible number of data blocks, "+
				"%d: set the right number with --data-blocks", s.path, data)
		}
		o.SourceBlocks = min(s.blocks(), metadata.MaxBlocks)
		view, err := repairTo(c, s, target, o)
		if err != nil {
			return err
		}
		if err := c.Show(view, view.write); err != nil || view.Lossless {
			return err
		}
		if view.DryRun {
			return exit.Errorf(fault.Unhealthy, "metadata %s: mappings would be lost: look for another copy or a dump "+
				"before you repair it", s.path)
		}
		return exit.Errorf(fault.Unhealthy, "metadata %s: mappings were lost, and the rest is in %s: check the data "+
			"on the volumes before you use them, and keep the old metadata", s.path, target)
	})
}

func repairTo(c *command.Call, s *source, path string, o metadata.RepairOptions) (_ *metadataRepairView, err error) {
	t, err := openDestination(c, path, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if o.Blocks == 0 {
		if o.Blocks = t.capacity; !t.device {
			o.Blocks = o.SourceBlocks
		}
	}
	dry := c.Flags.Bool("dry-run")
	var w io.WriterAt = t
	if dry {
		w = noTarget{}
	} else if err := t.begin(o.Blocks); err != nil {
		return nil, err
	}
	read, done := c.Reading("repairing metadata %s", s.path)
	o.Progress = read
	repaired, err := metadata.Repair(c.Ctx, s, w, o)
	done()
	if err != nil {
		return nil, s.about(err)
	}
	if !dry {
		err = t.commit()
	}
	view := newMetadataRepairView(s.path, path, repaired)
	view.DryRun = dry
	return view, err
}

func newMetadataRepairView(path, target string, r metadata.Repaired) *metadataRepairView {
	block := r.Superblock.DataBlockSize.Bytes()
	v := &metadataRepairView{Envelope: output.Schema(), Path: path, Output: target, Lossless: r.Complete,
		Complete: r.Complete,
		Devices:  []repairedDevice{}, Findings: newMetadataFindings(r.Findings), New: newWrittenView(target, r.Superblock)}
	for _, d := range r.Devices {
		one := repairedDevice{ID: d.ID, Kept: d.Kept, KeptBytes: times(d.Kept, block), Lost: d.Lost,
			LostBytes: times(d.Lost, block), State: "whole"}
		switch {
		case d.Gone:
			one.State = "gone"
		case d.NoDetails:
			one.State = "details rebuilt"
		case d.Lost > 0:
			one.State = "part"
		}
		v.Kept, v.Lost = v.Kept+d.Kept, v.Lost+d.Lost
		v.Lossless = v.Lossless && d.Lost == 0 && !d.Gone
		v.Devices = append(v.Devices, one)
	}
	return v
}

func (v *metadataRepairView) write(w io.Writer) {
	writeMetadataFindings(w, v.Findings)
	output.Row(w, "ID", "KEPT", "LOST", "STATE")
	for _, d := range v.Devices {
		output.Row(w, d.ID, d.KeptBytes, d.LostBytes, d.State)
	}
	done := "repaired"
	if v.DryRun {
		done = "would be repaired"
	}
	fmt.Fprintf(w, "\nmetadata %s: %s into %s: ", v.Path, done, v.Output)
	switch {
	case v.Lossless:
		fmt.Fprintln(w, "nothing was lost")
	case v.Complete:
		fmt.Fprintf(w, "%d mappings kept, %d lost\n", v.Kept, v.Lost)
	default:
		fmt.Fprintf(w, "%d mappings kept, at least %d lost: part of the old metadata cannot be reached\n", v.Kept, v.Lost)
	}
}

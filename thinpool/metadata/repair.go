package metadata

import (
	"context"
	"fmt"
	"io"
)

// RepairOptions are the options of Repair.
type RepairOptions struct {
	// SourceBlocks is the number of metadata blocks of the damaged device or file. 0: as in its
	// superblock.
	SourceBlocks uint64
	// Blocks is the number of metadata blocks of the new device or file. 0: SourceBlocks.
	Blocks uint64
	// DataBlocks is the size of the data device. Mappings beyond it are dropped. 0: as in the
	// superblock.
	DataBlocks uint64
	Workers    int
	Progress   func(Progress)
}

// Repaired is the result of a repair.
type Repaired struct {
	Superblock Superblock
	Devices    []RepairedDevice // ordered by id
	// Complete is true if every node could be read. Then the loss is not larger than Devices
	// shows.
	Complete bool
	// Findings are the defects of the damaged metadata, the most severe first.
	Findings []Finding
}

// RepairedDevice is the result of a repair for one thin device.
type RepairedDevice struct {
	ID uint32
	// Kept is the number of mappings now. Lost is the number of other mappings that it had
	// according to its details.
	Kept, Lost uint64
	// Gone is true if no node of the device could be read. The new metadata does not have the
	// device.
	Gone bool
	// NoDetails is true if the device had no details and got new ones.
	NoDetails bool
}

// Repair reads the metadata of an inactive pool as far as possible and writes sound metadata to
// w, whose content is lost. Shared mappings stay shared. Reference counts, details and space
// maps are new. The uuid, time and transaction id stay the same, needs_check is cleared, and a
// held root is dropped. Repair never writes to r.
//
// ErrChecksum, ErrCorrupt, fault.Unsupported: the superblock cannot be read; without it Repair
// finds nothing. ErrNoSpace: w is too small.
func Repair(ctx context.Context, r io.ReaderAt, w io.WriterAt, o RepairOptions) (Repaired, error) {
	repaired, err := repair(ctx, r, w, o)
	if err != nil {
		return Repaired{}, fmt.Errorf("repair metadata: %w", err)
	}
	return repaired, nil
}

func repair(ctx context.Context, r io.ReaderAt, w io.WriterAt, o RepairOptions) (Repaired, error) {
	// Only the trees of the live superblock are read: the held root is dropped.
	c := &checker{options: CheckOptions{Blocks: o.SourceBlocks, DataBlocks: o.DataBlocks, Workers: o.Workers,
		Progress: o.Progress}, rebuilding: true}
	s, err := ReadSuperblock(r)
	if err != nil {
		return Repaired{}, err
	}
	if blocks := s.DataSpaceMap.Blocks; o.DataBlocks == 0 {
		if blocks == 0 || bitmapsFor(blocks) > MaxBlocks {
			return Repaired{}, corrupt(0, "the superblock counts %d data blocks: give the size of the data device", blocks)
		}
		o.DataBlocks = blocks
	}
	c.checkFields(s)
	if err := c.read(ctx, r, s); err != nil {
		return Repaired{}, err
	}
	c.compareDevices()
	if o.SourceBlocks == 0 {
		o.SourceBlocks = blockLimit(s)
	}
	if o.Blocks == 0 {
		o.Blocks = o.SourceBlocks
	}
	b, err := NewBuilder(w, BuildOptions{
		DataBlockSize: s.DataBlockSize, DataBlocks: o.DataBlocks, MetadataBlocks: o.Blocks,
		Time: min(max(s.Time, c.latest), maxTime), TransactionID: s.TransactionID, UUID: s.UUID, Version: s.Version,
	})
	if err != nil {
		return Repaired{}, err
	}
	p := &rebuilder{checker: c, b: b, built: make([]Subtree, len(c.m.graph.vertices))}
	repaired := Repaired{Complete: !c.incomplete, Findings: c.findings.sorted()}
	if repaired.Devices, err = p.rebuild(ctx); err != nil {
		return Repaired{}, err
	}
	repaired.Superblock, err = b.Finish()
	return repaired, err
}

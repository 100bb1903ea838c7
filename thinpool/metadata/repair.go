package metadata

import (
	"context"
	"fmt"
	"io"
)

// RepairOptions says how metadata is rebuilt.
type RepairOptions struct {
	// SourceBlocks is how many metadata blocks the damaged device or file has.
	// 0: as its superblock says.
	SourceBlocks uint64
	// Blocks is how many the new one has. 0: SourceBlocks.
	Blocks uint64
	// DataBlocks is the data device's size. 0: as the superblock says; mappings
	// to beyond are dropped.
	DataBlocks uint64
	Workers    int
	Progress   func(Progress)
}

// Repaired says what a repair made, and what it could not save.
type Repaired struct {
	Superblock Superblock
	Devices    []RepairedDevice // in the order of their ids
	// Complete: every node could be read, and no more is lost than Devices say.
	Complete bool
	// Findings are what was wrong with the old metadata, the worst first.
	Findings []Finding
}

// RepairedDevice is what became of a thin device.
type RepairedDevice struct {
	ID uint32
	// Kept is how many mappings it has now. Lost is how many more it had, as far
	// as its details said.
	Kept, Lost uint64
	// Gone: none of it could be reached, and the new metadata has no such device.
	Gone bool
	// NoDetails: it had none, and new ones were made.
	NoDetails bool
}

// Repair reads the metadata of a pool that is not active as far as it can be
// read, and writes sound metadata from it to w, which must hold nothing of
// value. What devices shared they still share. Counts, details and space maps
// are made anew, the uuid, time and transaction id are kept, the need for a
// check is cleared, a held root is let go. r is never written to.
//
// ErrChecksum, ErrCorrupt, ErrUnsupported: the superblock is not readable, and
// without it nothing is found. ErrNoSpace: w is too small.
func Repair(ctx context.Context, r io.ReaderAt, w io.WriterAt, o RepairOptions) (Repaired, error) {
	repaired, err := repair(ctx, r, w, o)
	if err != nil {
		return Repaired{}, fmt.Errorf("repairing metadata: %w", err)
	}
	return repaired, nil
}

func repair(ctx context.Context, r io.ReaderAt, w io.WriterAt, o RepairOptions) (Repaired, error) {
	// What the live superblock leads to decides: the held root is let go.
	c := &checker{options: CheckOptions{Blocks: o.SourceBlocks, DataBlocks: o.DataBlocks, Workers: o.Workers, Progress: o.Progress}, rebuilding: true}
	s, err := ReadSuperblock(r)
	if err != nil {
		return Repaired{}, err
	}
	if blocks := s.DataSpaceMap.Blocks; o.DataBlocks == 0 {
		if blocks == 0 || bitmapsFor(blocks) > MaxBlocks {
			return Repaired{}, corrupt(0, "%d data blocks are said to be there: say how many there are", blocks)
		}
		o.DataBlocks = blocks
	}
	c.remarks(s)
	if err := c.read(ctx, r, s); err != nil {
		return Repaired{}, err
	}
	c.compareDevices()
	if o.SourceBlocks == 0 {
		o.SourceBlocks = limit(s)
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
	p := &patient{checker: c, b: b, done: make([]Subtree, len(c.m.graph.vertices))}
	repaired := Repaired{Complete: !c.hidden, Findings: c.findings.sorted()}
	if repaired.Devices, err = p.rebuild(ctx); err != nil {
		return Repaired{}, err
	}
	repaired.Superblock, err = b.Finish()
	return repaired, err
}

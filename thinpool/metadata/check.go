package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"thinctl/units"
)

// CheckOptions says how metadata is checked.
type CheckOptions struct {
	// Held checks what the held root at this block leads to instead of the whole:
	// all that can be checked while the pool is active. Its space maps cannot be.
	Held uint64
	// DataBlocks is the data device's size, where Held is set.
	DataBlocks uint64
	// Blocks is how many metadata blocks the device or file has. 0: not compared.
	Blocks uint64

	Memory   units.Bytes // as ScanOptions
	Workers  int
	Progress func(Progress)
}

// Check looks at all of the metadata of a pool that is not active, or at what a
// held root leads to, and writes nothing. What is wrong is in the report. Errors
// are for what keeps it from looking: ErrEmpty and ErrNotMetadata where there is
// none, ErrTooLarge, a context that ended.
func Check(ctx context.Context, r io.ReaderAt, o CheckOptions) (Report, error) {
	c := &checker{options: o}
	report, err := c.check(ctx, r)
	if err != nil {
		return Report{}, fmt.Errorf("checking metadata: %w", err)
	}
	return report, nil
}

type checker struct {
	options CheckOptions
	m       *Map
	held    *Superblock // beside the live one

	mu             sync.Mutex // while reading
	findings       findings
	rebuilding     bool   // all counts are made anew
	hidden         bool   // nodes that were not read hide what is below them
	latest         uint32 // time that is after the pool's
	data, metadata recorded
}

func (c *checker) find(f Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.findings.add(f)
}

func (c *checker) check(ctx context.Context, r io.ReaderAt) (Report, error) {
	s, err := c.superblock(r)
	switch {
	case errors.Is(err, ErrEmpty), errors.Is(err, ErrNotMetadata), err != nil && blockOf(err) == nil:
		return Report{}, err
	case err != nil:
		c.find(Finding{Code: CodeSuperblock, Severity: Damage, Block: c.options.Held, Text: err.Error()})
		return Report{Findings: c.findings.sorted()}, nil
	}
	c.remarks(s)
	if err := c.read(ctx, r, s); err != nil {
		return Report{}, err
	}
	report := Report{Superblock: s, Complete: !c.hidden}
	c.compareDevices()
	if c.options.Held == 0 {
		if err := c.compareSpaceMaps(ctx); err != nil {
			return Report{}, err
		}
	}
	report.Findings = c.findings.sorted()
	if worst, _ := report.Worst(); worst < Damage {
		usage := c.m.Usage()
		report.Usage = &usage
	}
	return report, nil
}

func blockOf(err error) *BlockError {
	var block *BlockError
	if errors.As(err, &block) && block.Kind != nil {
		return block
	}
	return nil
}

func (c *checker) superblock(r io.ReaderAt) (Superblock, error) {
	if c.options.Held != 0 {
		return HeldRoot(r, c.options.Held)
	}
	s, err := ReadSuperblock(r)
	if err != nil || s.HeldRoot == 0 {
		return s, err
	}
	held, err := HeldRoot(r, s.HeldRoot)
	if err != nil {
		c.hidden = true
		c.find(Finding{Code: CodeHeldRoot, Severity: Damage, Block: s.HeldRoot, Repairable: true, Text: err.Error()})
		return s, nil
	}
	if held.DataSpaceMap != (SpaceMap{}) || held.MetadataSpaceMap != (SpaceMap{}) {
		// __reserve_metadata_snap wipes them, so that nobody trusts them.
		c.find(Finding{Code: CodeHeldRoot, Severity: Damage, Block: s.HeldRoot, Repairable: true,
			Text: fmt.Sprintf("the held root at block %d has space maps", s.HeldRoot)})
	}
	c.held = &held
	return s, nil
}

// remarks are on what the superblock says that is sound but not well.
func (c *checker) remarks(s Superblock) {
	if s.NeedsCheck() {
		c.find(Finding{Code: CodeNeedsCheck, Severity: Notice, Repairable: true,
			Text: "the kernel met a failure and keeps the pool read-only until the flag is cleared"})
	}
	// pack_block_time does not mask: the 25th bit would fall into the block.
	if s.Time >= 1<<timeBits/10*9 {
		c.find(Finding{Code: CodeTime, Severity: Notice,
			Text: fmt.Sprintf("%d of %d snapshots in the pool's life are made; mappings break when they are used up: move to a new pool", s.Time, 1<<timeBits)})
	}
	if s.MetadataBlockSize != units.Sectors(BlockSize/512) {
		c.find(Finding{Code: CodeSuperblock, Severity: Damage, Repairable: true,
			Text: fmt.Sprintf("metadata blocks of %d sectors, and 8 is all there are", s.MetadataBlockSize)})
	}
	if unknown := s.Flags &^ flagNeedsCheck; unknown != 0 {
		c.find(Finding{Code: CodeSuperblock, Severity: Damage, Repairable: true, Text: fmt.Sprintf("unknown flags %#x", unknown)})
	}
	if s.CompatRO != 0 {
		c.find(Finding{Code: CodeSuperblock, Severity: Notice, Repairable: true,
			Text: fmt.Sprintf("features %#x that only readers may not know", s.CompatRO)})
	}
	if blocks := s.MetadataSpaceMap.Blocks; c.options.Blocks != 0 && blocks > c.options.Blocks && c.options.Held == 0 {
		c.find(Finding{Code: CodeTruncated, Severity: Damage, Repairable: true,
			Text: fmt.Sprintf("the space map counts %d metadata blocks, the device has %d", blocks, c.options.Blocks)})
	}
	if blocks := s.MetadataSpaceMap.Blocks; blocks > MaxBlocks {
		c.find(Finding{Code: CodeSuperblock, Severity: Damage, Repairable: true,
			Text: fmt.Sprintf("the space map counts %d metadata blocks, and %d can be", blocks, uint64(MaxBlocks))})
	}
}

// read goes through all trees.
func (c *checker) read(ctx context.Context, r io.ReaderAt, s Superblock) error {
	o := ScanOptions{DataBlocks: c.options.DataBlocks, Memory: c.options.Memory, Workers: c.options.Workers, Progress: c.options.Progress}
	c.m = newMap(r, s, o)
	g := c.m.graph
	g.fault = c.fault
	if c.rebuilding && c.options.Blocks != 0 {
		g.limit = min(c.options.Blocks, MaxBlocks) // whatever the space map says
	}
	c.m.beyond = func(v *vertex, n node, i int, block uint64) error {
		v.flawed = true
		c.find(Finding{Code: CodeBeyondData, Severity: Damage, Block: n.block, Repairable: true, Lost: 1,
			Text: fmt.Sprintf("block %d maps virtual block %d to data block %d of %d", n.block, n.key(i), block, c.m.options.DataBlocks)})
		return nil
	}
	c.m.latest = uint64(s.Time)
	c.m.later = func(_ *vertex, n node, i int, time uint32) {
		c.laterThan(s.Time, time, Finding{Block: n.block, Text: fmt.Sprintf("block %d maps virtual block %d at time %d, the pool's is %d", n.block, n.key(i), time, s.Time)})
	}
	roots := []Superblock{s}
	if c.held != nil {
		roots = append(roots, *c.held)
	}
	for _, root := range roots {
		if err := c.m.begin(root); err != nil {
			return err
		}
	}
	if c.options.Held == 0 && !c.rebuilding {
		var err error
		c.data.name, c.data.leak, c.data.less, c.data.root = "data", CodeDataLeak, CodeDataCount, s.DataSpaceMap
		c.metadata.name, c.metadata.leak, c.metadata.less, c.metadata.root = "metadata", CodeMetadataLeak, CodeMetadataCount, s.MetadataSpaceMap
		if c.data.counts, err = g.root(s.DataSpaceMap.RefCountRoot, refCountTree); err != nil {
			return err
		}
		if c.metadata.counts, err = g.root(s.MetadataSpaceMap.RefCountRoot, refCountTree); err != nil {
			return err
		}
		if c.data.index, err = g.root(s.DataSpaceMap.BitmapRoot, indexTree); err != nil {
			return err
		}
	}
	if err := c.m.finish(ctx); err != nil {
		return err
	}
	for n := range g.vertices {
		if v := &g.vertices[n]; v.child && v.lean && !v.broken && v.entries > 0 {
			c.find(Finding{Code: CodeUnderfull, Severity: Damage, Block: uint64(v.block), Repairable: true,
				Text: fmt.Sprintf("block %d in %s has only %d entries: the kernel refuses it", v.block, v.tree, v.entries)})
		}
	}
	return nil
}

// fault notes what the reading met, and goes on.
func (c *checker) fault(code Code, v *vertex, err error) error {
	f := Finding{Code: code, Severity: Damage, Repairable: true, Text: err.Error()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v != nil {
		f.Block, v.flawed = uint64(v.block), true
	}
	switch code {
	case CodeKeys, CodeBalance:
	default:
		c.hidden = true
	}
	c.findings.add(f)
	return nil
}

// laterThan notes a time that is still to come: the kernel would take a shared
// block for one of the device's own (dm-thin-metadata.c, __snapshotted_since).
func (c *checker) laterThan(pool, time uint32, f Finding) {
	f.Code, f.Severity, f.Repairable = CodeTimeAhead, Damage, true
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = max(c.latest, time)
	c.findings.add(f)
}

// compareDevices holds what the details say against what is there.
func (c *checker) compareDevices() {
	usage := c.m.Usage()
	damaged := c.damaged()
	details := map[uint32]Device{}
	for _, d := range c.m.details {
		details[d.ID] = d
	}
	pool := c.m.superblock.Time
	for _, d := range c.m.details {
		if latest := max(d.CreationTime, d.SnapshottedTime); latest > pool {
			c.laterThan(pool, latest, Finding{Devices: []uint32{d.ID}, Text: fmt.Sprintf("device %d is of time %d, the pool's is %d", d.ID, latest, pool)})
		}
	}
	for _, u := range usage.Devices {
		d, ok := details[u.ID]
		delete(details, u.ID)
		switch {
		case !ok:
			c.find(Finding{Code: CodeNoDetails, Severity: Damage, Devices: []uint32{u.ID}, Repairable: true,
				Text: fmt.Sprintf("device %d has %d mappings and no details: it cannot be activated", u.ID, u.Mapped)})
		case damaged[u.ID]:
			lost := d.MappedBlocks - min(d.MappedBlocks, u.Mapped)
			c.find(Finding{Code: CodeDevice, Severity: Damage, Devices: []uint32{u.ID}, Repairable: true, Lost: lost,
				Text: fmt.Sprintf("device %d: %d of %d mappings cannot be reached", u.ID, lost, d.MappedBlocks)})
		case d.MappedBlocks != u.Mapped:
			c.find(Finding{Code: CodeMappedCount, Severity: Damage, Devices: []uint32{u.ID}, Repairable: true,
				Text: fmt.Sprintf("device %d has %d mappings, its details say %d", u.ID, u.Mapped, d.MappedBlocks)})
		}
	}
	for _, d := range c.m.details {
		if _, left := details[d.ID]; left {
			c.find(Finding{Code: CodeNoMappings, Severity: Damage, Devices: []uint32{d.ID}, Repairable: true, Lost: d.MappedBlocks,
				Text: fmt.Sprintf("device %d has details and no mappings; it had %d", d.ID, d.MappedBlocks)})
		}
	}
}

// damaged are the devices some of whose nodes could not be read.
func (c *checker) damaged() map[uint32]bool {
	g := c.m.graph
	bad := make([]bool, len(g.vertices))
	for _, number := range slices.Backward(c.m.order) {
		v := &g.vertices[number]
		bad[number] = v.broken
		if v.tree != mappingTree {
			continue
		}
		for _, child := range g.below(v) {
			bad[number] = bad[number] || child == 0 || bad[child]
		}
	}
	damaged := map[uint32]bool{}
	for _, r := range c.m.roots {
		if r.root == 0 || bad[r.root] {
			damaged[r.id] = true
		}
	}
	return damaged
}

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

// CheckOptions are the options of Check.
type CheckOptions struct {
	// Held is the block of a held root. If it is set, Check covers only the trees below that
	// root, which is possible while the pool is active. Space maps are not checked.
	Held uint64
	// DataBlocks is the size of the data device. It is set together with Held, because a held
	// root does not have the size. 0: as in the superblock.
	DataBlocks uint64
	// Blocks is the number of metadata blocks of the device or file. 0: not compared.
	Blocks uint64

	Memory   units.Bytes // as in ScanOptions
	Workers  int
	Progress func(Progress)
}

// Check reads all metadata of an inactive pool, or the trees below a held root, and writes
// nothing. Defects are in the report. An error means that the check was not possible: ErrEmpty
// or ErrNotMetadata if there is no metadata, ErrTooLarge, or the error of ctx.
func Check(ctx context.Context, r io.ReaderAt, o CheckOptions) (Report, error) {
	c := &checker{options: o}
	report, err := c.check(ctx, r)
	if err != nil {
		return Report{}, fmt.Errorf("check metadata: %w", err)
	}
	return report, nil
}

type checker struct {
	options CheckOptions
	m       *Map
	held    *Superblock // the held root, if the live superblock has one

	mu             sync.Mutex // for the fields below, while nodes are read
	findings       findings
	rebuilding     bool   // Repair counts all references again
	incomplete     bool   // some nodes were not read, nor the nodes below them
	latest         uint32 // the highest time that is after the pool's
	data, metadata diskSpaceMap
}

func (c *checker) add(f Finding) {
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
		c.add(Finding{Code: CodeSuperblock, Severity: Damage, Block: c.options.Held, Text: err.Error()})
		return Report{Findings: c.findings.sorted()}, nil
	}
	c.checkFields(s)
	if err := c.read(ctx, r, s); err != nil {
		return Report{}, err
	}
	report := Report{Superblock: s, Complete: !c.incomplete}
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
		c.incomplete = true
		c.add(Finding{Code: CodeHeldRoot, Severity: Damage, Block: s.HeldRoot, Repairable: true, Text: err.Error()})
		return s, nil
	}
	if held.DataSpaceMap != (SpaceMap{}) || held.MetadataSpaceMap != (SpaceMap{}) {
		// __reserve_metadata_snap clears them.
		c.add(Finding{Code: CodeHeldRoot, Severity: Damage, Block: s.HeldRoot, Repairable: true,
			Text: fmt.Sprintf("the held root at block %d has space maps", s.HeldRoot)})
	}
	c.held = &held
	return s, nil
}

// checkFields adds findings for the fields of a superblock that could be read.
func (c *checker) checkFields(s Superblock) {
	if s.NeedsCheck() {
		c.add(Finding{Code: CodeNeedsCheck, Severity: Notice, Repairable: true,
			Text: "an operation failed in the kernel, which keeps the pool read-only until the flag is cleared"})
	}
	// pack_block_time does not mask the time: bit 25 would change the block number.
	if s.Time >= 1<<timeBits/10*9 {
		c.add(Finding{Code: CodeTime, Severity: Notice,
			Text: fmt.Sprintf("the pool has made %d of its %d snapshots; mappings break after the last: move to a new pool",
				s.Time, 1<<timeBits)})
	}
	if s.MetadataBlockSize != units.Sectors(BlockSize/512) {
		c.add(Finding{Code: CodeSuperblock, Severity: Damage, Repairable: true,
			Text: fmt.Sprintf("metadata blocks of %d sectors, want 8", s.MetadataBlockSize)})
	}
	if unknown := s.Flags &^ flagNeedsCheck; unknown != 0 {
		c.add(Finding{Code: CodeSuperblock, Severity: Damage, Repairable: true,
			Text: fmt.Sprintf("unknown flags %#x", unknown)})
	}
	if s.CompatRO != 0 {
		c.add(Finding{Code: CodeSuperblock, Severity: Notice, Repairable: true,
			Text: fmt.Sprintf("read-only compatible features %#x", s.CompatRO)})
	}
	if blocks := s.MetadataSpaceMap.Blocks; c.options.Blocks != 0 && blocks > c.options.Blocks && c.options.Held == 0 {
		c.add(Finding{Code: CodeTruncated, Severity: Damage, Repairable: true,
			Text: fmt.Sprintf("the space map counts %d metadata blocks, the device has %d", blocks, c.options.Blocks)})
	}
	if blocks := s.MetadataSpaceMap.Blocks; blocks > MaxBlocks {
		c.add(Finding{Code: CodeSuperblock, Severity: Damage, Repairable: true,
			Text: fmt.Sprintf("the space map counts %d metadata blocks, the maximum is %d", blocks, uint64(MaxBlocks))})
	}
}

// read reads all trees.
func (c *checker) read(ctx context.Context, r io.ReaderAt, s Superblock) error {
	o := ScanOptions{DataBlocks: c.options.DataBlocks, Memory: c.options.Memory, Workers: c.options.Workers,
		Progress: c.options.Progress}
	c.m = newMap(r, s, o)
	g := c.m.graph
	g.onFault = c.fault
	if c.rebuilding && c.options.Blocks != 0 {
		g.limit = min(c.options.Blocks, MaxBlocks) // the space map's size may be wrong
	}
	c.m.onBeyondData = func(v *vertex, n node, i int, block uint64) error {
		v.flawed = true
		c.add(Finding{Code: CodeBeyondData, Severity: Damage, Block: n.block, Repairable: true, Lost: 1,
			Text: fmt.Sprintf("block %d maps virtual block %d to data block %d of %d", n.block, n.key(i), block,
				c.m.options.DataBlocks)})
		return nil
	}
	c.m.latest = uint64(s.Time)
	c.m.onTimeAhead = func(_ *vertex, n node, i int, time uint32) {
		text := fmt.Sprintf("block %d maps virtual block %d at time %d, the pool's is %d", n.block, n.key(i), time, s.Time)
		c.addTimeAhead(time, Finding{Block: n.block, Text: text})
	}
	roots := []Superblock{s}
	if c.held != nil {
		roots = append(roots, *c.held)
	}
	for _, root := range roots {
		if err := c.m.addRoots(root); err != nil {
			return err
		}
	}
	if c.options.Held == 0 && !c.rebuilding {
		var err error
		c.data.name, c.data.root = "data", s.DataSpaceMap
		c.data.leak, c.data.undercount = CodeDataLeak, CodeDataCount
		c.metadata.name, c.metadata.root = "metadata", s.MetadataSpaceMap
		c.metadata.leak, c.metadata.undercount = CodeMetadataLeak, CodeMetadataCount
		if c.data.countsRoot, err = g.root(s.DataSpaceMap.RefCountRoot, refCountTree); err != nil {
			return err
		}
		if c.metadata.countsRoot, err = g.root(s.MetadataSpaceMap.RefCountRoot, refCountTree); err != nil {
			return err
		}
		if c.data.indexRoot, err = g.root(s.DataSpaceMap.BitmapRoot, indexTree); err != nil {
			return err
		}
	}
	if err := c.m.readAll(ctx); err != nil {
		return err
	}
	for n := range g.vertices {
		if v := &g.vertices[n]; v.hasParent && v.underfull && !v.broken && v.entries > 0 {
			c.add(Finding{Code: CodeUnderfull, Severity: Damage, Block: uint64(v.block), Repairable: true,
				Text: fmt.Sprintf("block %d in %s has only %d entries: the kernel rejects it", v.block, v.tree, v.entries)})
		}
	}
	return nil
}

// fault adds a finding for a defect that the reading found, and lets it continue.
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
		c.incomplete = true
	}
	c.findings.add(f)
	return nil
}

// addTimeAhead adds a finding for a time after the pool's. With such a time the kernel takes a
// shared block for an exclusive one (dm-thin-metadata.c, __snapshotted_since).
func (c *checker) addTimeAhead(time uint32, f Finding) {
	f.Code, f.Severity, f.Repairable = CodeTimeAhead, Damage, true
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = max(c.latest, time)
	c.findings.add(f)
}

// compareDevices compares the details of the devices with their mappings.
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
			c.addTimeAhead(latest, Finding{Devices: []uint32{d.ID},
				Text: fmt.Sprintf("device %d has time %d, the pool's is %d", d.ID, latest, pool)})
		}
	}
	for _, u := range usage.Devices {
		d, ok := details[u.ID]
		delete(details, u.ID)
		switch {
		case !ok:
			c.add(Finding{Code: CodeNoDetails, Severity: Damage, Devices: []uint32{u.ID}, Repairable: true,
				Text: fmt.Sprintf("device %d has %d mappings and no details: it cannot be activated", u.ID, u.Mapped)})
		case damaged[u.ID]:
			lost := d.MappedBlocks - min(d.MappedBlocks, u.Mapped)
			c.add(Finding{Code: CodeDevice, Severity: Damage, Devices: []uint32{u.ID}, Repairable: true, Lost: lost,
				Text: fmt.Sprintf("device %d: %d of %d mappings cannot be reached", u.ID, lost, d.MappedBlocks)})
		case d.MappedBlocks != u.Mapped:
			c.add(Finding{Code: CodeMappedCount, Severity: Damage, Devices: []uint32{u.ID}, Repairable: true,
				Text: fmt.Sprintf("device %d has %d mappings, its details count %d", u.ID, u.Mapped, d.MappedBlocks)})
		}
	}
	for _, d := range c.m.details {
		if _, left := details[d.ID]; left {
			c.add(Finding{Code: CodeNoMappings, Severity: Damage, Devices: []uint32{d.ID}, Repairable: true,
				Lost: d.MappedBlocks,
				Text: fmt.Sprintf("device %d has details and no mappings; it had %d", d.ID, d.MappedBlocks)})
		}
	}
}

// damaged returns the devices that have unreadable nodes.
func (c *checker) damaged() map[uint32]bool {
	g := c.m.graph
	bad := make([]bool, len(g.vertices))
	for _, number := range slices.Backward(c.m.order) {
		v := &g.vertices[number]
		bad[number] = v.broken
		if v.tree != mappingTree {
			continue
		}
		for _, child := range g.children(v) {
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

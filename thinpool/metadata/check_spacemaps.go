package metadata

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"sync/atomic"
)

// diskSpaceMap is a space map as it is on disk.
type diskSpaceMap struct {
	name                  string
	leak, undercount      Code
	root                  SpaceMap
	countsRoot, indexRoot uint32 // vertices of its trees' roots
	bitmaps               []indexEntry
	overflow              []uint32      // vertices of the leaves under countsRoot, in order
	allocated             atomic.Uint64 // the sum over its bitmaps
	incomplete            atomic.Bool   // a bitmap was not read
}

// compareSpaceMaps compares both space maps with the references that were counted.
func (c *checker) compareSpaceMaps(ctx context.Context) error {
	for _, sm := range []*diskSpaceMap{&c.data, &c.metadata} {
		for number := range c.m.graph.leavesUnder(sm.countsRoot) {
			sm.overflow = append(sm.overflow, number)
		}
	}
	c.data.bitmaps = c.checkEntries(&c.data, collect[indexEntry](c.m, c.data.indexRoot))
	c.metadata.bitmaps = c.checkEntries(&c.metadata, c.metadataIndex())

	refs := c.metadataRefs()
	used := func(block uint64) ([]uint32, uint64) { return refs[block:], uint64(len(refs)) - block }
	if err := c.compare(ctx, &c.metadata, window{0, allRegions}, used); err != nil {
		return err
	}
	err := c.m.passes(ctx, false, func(data *dataRefs) error {
		return c.compare(ctx, &c.data, data.window, data.refsFrom)
	})
	if err != nil {
		return err
	}
	for _, sm := range []*diskSpaceMap{&c.data, &c.metadata} {
		if n := sm.allocated.Load(); n != sm.root.Allocated && !sm.incomplete.Load() {
			c.add(Finding{Code: CodeAllocated, Severity: Damage, Repairable: true,
				Text: fmt.Sprintf("the %s space map's bitmaps have %d blocks in use, its root counts %d", sm.name, n,
					sm.root.Allocated)})
		}
	}
	if c.incomplete {
		c.add(Finding{Code: CodeNotCounted, Severity: Notice,
			Text: "some metadata cannot be read: leaks are not reported"})
	}
	return nil
}

// metadataIndex reads the index of the metadata space map, which is one block.
func (c *checker) metadataIndex() []indexEntry {
	block, b := c.metadata.root.BitmapRoot, newBlock()
	err := readBlock(c.m.graph.reader.r, block, b)
	if err == nil {
		err = checkIndex(b, block)
	}
	if err != nil {
		c.metadata.incomplete.Store(true)
		c.add(Finding{Code: CodeBitmap, Severity: Damage, Block: block, Repairable: true,
			Text: fmt.Sprintf("the metadata space map's index: %v", err)})
		return nil
	}
	var entries []indexEntry
	for n := range bitmapsFor(min(c.metadata.root.Blocks, MaxBlocks)) {
		entries = append(entries, decodeIndexEntry(n, b[bitmapHeader+indexEntrySize*n:]))
	}
	return entries
}

// checkIndex checks the index block of the metadata space map.
func checkIndex(b []byte, block uint64) error {
	if err := verify(b, block, indexSalt); err != nil {
		return err
	}
	if own := binary.LittleEndian.Uint64(b[8:]); own != block {
		return corrupt(block, "the index has the block number %d", own)
	}
	return nil
}

func checkBitmap(b []byte, block uint64) error {
	if err := verify(b, block, bitmapSalt); err != nil {
		return err
	}
	if own := binary.LittleEndian.Uint64(b[8:]); own != block {
		return corrupt(block, "the bitmap has the block number %d", own)
	}
	return nil
}

// checkEntries removes the entries that point to no block.
func (c *checker) checkEntries(sm *diskSpaceMap, entries []indexEntry) []indexEntry {
	if len(entries) == 0 && sm.incomplete.Load() {
		return nil
	}
	if want := bitmapsFor(sm.root.Blocks); uint64(len(entries)) != want && !c.incomplete {
		sm.incomplete.Store(true)
		c.add(Finding{Code: CodeIndex, Severity: Damage, Repairable: true,
			Text: fmt.Sprintf("the %s space map's index has %d bitmaps for %d blocks, which need %d", sm.name, len(entries),
				sm.root.Blocks, want)})
	}
	sound := entries[:0]
	for _, e := range entries {
		if e.block != 0 && e.block < c.m.graph.limit && e.number < bitmapsFor(sm.root.Blocks) {
			sound = append(sound, e)
			continue
		}
		sm.incomplete.Store(true)
		c.add(Finding{Code: CodePointer, Severity: Damage, Block: e.block, Repairable: true,
			Text: fmt.Sprintf("the index has bitmap %d of the %s space map at block %d of %d", e.number, sm.name, e.block,
				c.m.graph.limit)})
	}
	return sound
}

// metadataRefs counts the pointers to each metadata block, in the form of a dataRefs entry.
func (c *checker) metadataRefs() []uint32 {
	refs := make([]uint32, min(c.metadata.root.Blocks, MaxBlocks))
	add := func(block uint64, n uint32) {
		if block < uint64(len(refs)) {
			refs[block] = refOf(countOf(refs[block]) + n)
		}
	}
	for _, v := range c.m.graph.vertices[1:] {
		add(uint64(v.block), v.refs)
	}
	add(0, 1)
	if c.m.superblock.HeldRoot != 0 {
		add(c.m.superblock.HeldRoot, 1)
	}
	add(c.metadata.root.BitmapRoot, 1)
	for _, e := range slices.Concat(c.data.bitmaps, c.metadata.bitmaps) {
		add(e.block, 1)
	}
	return refs
}

// refsFunc returns the references of the n blocks that begin at block, as entries of dataRefs.
// nil stands for n blocks without references.
type refsFunc func(block uint64) (marks []uint32, n uint64)

func (c *dataRefs) refsFrom(block uint64) ([]uint32, uint64) {
	at := block % regionBlocks
	if r := c.lookup(block / regionBlocks); r != nil {
		return r[at:], regionBlocks - at
	}
	return nil, regionBlocks - at
}

func countOf(ref uint32) uint32 {
	switch {
	case ref&countFlag != 0:
		return ref &^ countFlag
	case ref != 0:
		return 1
	}
	return 0
}

func refOf(count uint32) uint32 {
	if count > 1 {
		count |= countFlag
	}
	return count
}

// overflowCounts returns the records of counts over 2 for blocks in [lowest, end).
func (c *checker) overflowCounts(sm *diskSpaceMap, lowest, end uint64) (counts []refCount, err error) {
	first := sort.Search(len(sm.overflow), func(i int) bool { return c.m.graph.vertices[sm.overflow[i]].last >= lowest })
	for _, number := range sm.overflow[first:] {
		if c.m.graph.vertices[number].first >= end {
			break
		}
		leaf, err := c.m.refCountsIn(number)
		if err != nil {
			return nil, err
		}
		for _, one := range leaf {
			if one.block >= lowest && one.block < end {
				counts = append(counts, one)
			}
		}
	}
	return counts, nil
}

// compare reads the bitmaps that overlap a window of blocks and compares their counts with the
// references. An index entry is checked in the window that contains the end of its bitmap.
func (c *checker) compare(ctx context.Context, sm *diskSpaceMap, w window, used refsFunc) error {
	lowest, beyond := w.first*regionBlocks, min(w.end*regionBlocks, sm.root.Blocks)
	entries := slices.Clone(sm.bitmaps)
	entries = slices.DeleteFunc(entries, func(e indexEntry) bool {
		from := e.number * uint64(bitmapEntries)
		return from+uint64(bitmapEntries) <= lowest || from >= beyond
	})
	slices.SortFunc(entries, func(a, b indexEntry) int { return cmp.Compare(a.block, b.block) })
	blocks := make([]uint32, len(entries))
	for i, e := range entries {
		blocks[i] = uint32(e.block)
	}
	return c.m.graph.reader.each(ctx, blocks, func(_, i int, b []byte, err error) error {
		e := entries[i]
		if err == nil {
			err = checkBitmap(b, e.block)
		}
		if err != nil {
			sm.incomplete.Store(true)
			c.add(Finding{Code: CodeBitmap, Severity: Damage, Block: e.block, Repairable: true,
				Text: fmt.Sprintf("bitmap %d of the %s space map: %v", e.number, sm.name, err)})
			return nil
		}
		read := bitmapCheck{checker: c, sm: sm, entry: e, b: b}
		return read.compare(max(lowest, e.number*uint64(bitmapEntries)), beyond, used)
	})
}

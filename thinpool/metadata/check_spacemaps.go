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

// recorded is a space map as it is on disk.
type recorded struct {
	name          string
	leak, less    Code
	root          SpaceMap
	counts, index uint32 // vertices of its trees' roots
	bitmaps       []indexEntry
	overflow      []uint32      // the leaves of counts, vertices, in order
	allocated     atomic.Uint64 // by its bitmaps
	unread        atomic.Bool   // some bitmap
}

// compareSpaceMaps holds both space maps against what was counted.
func (c *checker) compareSpaceMaps(ctx context.Context) error {
	for _, sm := range []*recorded{&c.data, &c.metadata} {
		for number := range c.m.graph.leavesUnder(sm.counts) {
			sm.overflow = append(sm.overflow, number)
		}
	}
	c.data.bitmaps = c.inOrder(&c.data, said[indexEntry](c.m, c.data.index))
	c.metadata.bitmaps = c.inOrder(&c.metadata, c.metadataIndex())

	refs := c.metadataRefs()
	used := func(block uint64) ([]uint32, uint64) { return refs[block:], uint64(len(refs)) - block }
	if err := c.compare(ctx, &c.metadata, window{0, allRegions}, used); err != nil {
		return err
	}
	err := c.m.passes(ctx, false, func(claims *claims) error {
		return c.compare(ctx, &c.data, claims.window, claims.uses)
	})
	if err != nil {
		return err
	}
	for _, sm := range []*recorded{&c.data, &c.metadata} {
		if n := sm.allocated.Load(); n != sm.root.Allocated && !sm.unread.Load() {
			c.find(Finding{Code: CodeAllocated, Severity: Damage, Repairable: true,
				Text: fmt.Sprintf("the %s space map's bitmaps have %d blocks in use, its root says %d", sm.name, n, sm.root.Allocated)})
		}
	}
	if c.hidden {
		c.find(Finding{Code: CodeNotCounted, Severity: Notice,
			Text: "what cannot be read hides which blocks are in use: no leak is reported"})
	}
	return nil
}

// metadataIndex reads the one block that is the metadata space map's index.
func (c *checker) metadataIndex() []indexEntry {
	block, b := c.metadata.root.BitmapRoot, newBlock()
	err := readBlock(c.m.graph.fetch.r, block, b)
	if err == nil {
		err = checkIndex(b, block)
	}
	if err != nil {
		c.metadata.unread.Store(true)
		c.find(Finding{Code: CodeBitmap, Severity: Damage, Block: block, Repairable: true,
			Text: fmt.Sprintf("the metadata space map's index: %v", err)})
		return nil
	}
	var entries []indexEntry
	for n := range bitmapsFor(min(c.metadata.root.Blocks, MaxBlocks)) {
		entries = append(entries, decodeIndexEntry(n, b[bitmapHeader+indexEntrySize*n:]))
	}
	return entries
}

// checkIndex checks the metadata space map's index block.
func checkIndex(b []byte, block uint64) error {
	if err := verify(b, block, indexSalt); err != nil {
		return err
	}
	if own := binary.LittleEndian.Uint64(b[8:]); own != block {
		return corrupt(block, "the index says that it is block %d", own)
	}
	return nil
}

func checkBitmap(b []byte, block uint64) error {
	if err := verify(b, block, bitmapSalt); err != nil {
		return err
	}
	if own := binary.LittleEndian.Uint64(b[8:]); own != block {
		return corrupt(block, "the bitmap says that it is block %d", own)
	}
	return nil
}

// inOrder drops the entries that lead nowhere.
func (c *checker) inOrder(sm *recorded, entries []indexEntry) []indexEntry {
	if len(entries) == 0 && sm.unread.Load() {
		return nil
	}
	if want := bitmapsFor(sm.root.Blocks); uint64(len(entries)) != want && !c.hidden {
		sm.unread.Store(true)
		c.find(Finding{Code: CodeIndex, Severity: Damage, Repairable: true,
			Text: fmt.Sprintf("the %s space map's index has %d bitmaps for %d blocks, which need %d", sm.name, len(entries), sm.root.Blocks, want)})
	}
	sound := entries[:0]
	for _, e := range entries {
		if e.block != 0 && e.block < c.m.graph.limit && e.number < bitmapsFor(sm.root.Blocks) {
			sound = append(sound, e)
			continue
		}
		sm.unread.Store(true)
		c.find(Finding{Code: CodePointer, Severity: Damage, Block: e.block, Repairable: true,
			Text: fmt.Sprintf("bitmap %d of the %s space map is said to be at block %d of %d", e.number, sm.name, e.block, c.m.graph.limit)})
	}
	return sound
}

// metadataRefs counts what points at each metadata block.
func (c *checker) metadataRefs() []uint32 {
	refs := make([]uint32, min(c.metadata.root.Blocks, MaxBlocks))
	add := func(block uint64, n uint32) {
		if block < uint64(len(refs)) {
			refs[block] = markOf(countOf(refs[block]) + n)
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

// uses says how often the n blocks from one on are in use, in the notation of
// claims; nil stands for not at all.
type uses func(block uint64) (marks []uint32, n uint64)

func (c *claims) uses(block uint64) ([]uint32, uint64) {
	at := block % regionBlocks
	if r := c.known(block / regionBlocks); r != nil {
		return r[at:], regionBlocks - at
	}
	return nil, regionBlocks - at
}

func countOf(mark uint32) uint32 {
	switch {
	case mark&manyMark != 0:
		return mark &^ manyMark
	case mark != 0:
		return 1
	}
	return 0
}

func markOf(count uint32) uint32 {
	if count > 1 {
		count |= manyMark
	}
	return count
}

// overflowing lists the counts over 2 that are recorded for blocks from lowest
// up to, but not with, end.
func (c *checker) overflowing(sm *recorded, lowest, end uint64) (counts []refCount, err error) {
	first := sort.Search(len(sm.overflow), func(i int) bool { return c.m.graph.vertices[sm.overflow[i]].last >= lowest })
	for _, number := range sm.overflow[first:] {
		if c.m.graph.vertices[number].first >= end {
			break
		}
		leaf, err := c.m.countsIn(number)
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

// compare reads the bitmaps around a window of blocks and holds their counts
// against their uses. What an index entry says is looked at with the last window.
func (c *checker) compare(ctx context.Context, sm *recorded, w window, used uses) error {
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
	return c.m.graph.fetch.each(ctx, blocks, func(_, i int, b []byte, err error) error {
		e := entries[i]
		if err == nil {
			err = checkBitmap(b, e.block)
		}
		if err != nil {
			sm.unread.Store(true)
			c.find(Finding{Code: CodeBitmap, Severity: Damage, Block: e.block, Repairable: true,
				Text: fmt.Sprintf("bitmap %d of the %s space map: %v", e.number, sm.name, err)})
			return nil
		}
		read := bitmapReading{checker: c, sm: sm, entry: e, b: b}
		return read.against(max(lowest, e.number*uint64(bitmapEntries)), beyond, used)
	})
}

package metadata

import (
	"encoding/binary"
	"iter"
	"maps"
	"slices"
)

// bitmapEntries is what one bitmap block counts: two bits for each, behind a
// header of 16 bytes (persistent-data/dm-space-map-common.h).
const (
	bitmapHeader  = 16
	bitmapEntries = 4 * (int(BlockSize) - bitmapHeader)
)

// fewCounts is how many counts over 2 a page keeps in a map before it takes
// 4 bytes for each of its blocks.
const fewCounts = 1024

// tally counts the references to each block of a device. It holds a page of
// 4 KiB for each 16320 blocks of which any is in use.
type tally struct {
	pages []*tallyPage
	used  uint64 // blocks that are referred to
}

// tallyPage is a bitmap block in the making, with the counts that two bits
// cannot tell.
type tallyPage struct {
	bitmap [blockSize]byte
	used   int
	few    map[int]uint32
	many   []uint32
}

func newTally(blocks uint64) *tally { return &tally{pages: make([]*tallyPage, bitmapsFor(blocks))} }

func bitmapsFor(blocks uint64) uint64 {
	n := blocks / uint64(bitmapEntries)
	if blocks%uint64(bitmapEntries) != 0 {
		n++
	}
	return n
}

func (t *tally) page(block uint64) (*tallyPage, int) {
	i := block / uint64(bitmapEntries)
	for uint64(len(t.pages)) <= i {
		t.pages = append(t.pages, nil)
	}
	if t.pages[i] == nil {
		t.pages[i] = new(tallyPage)
	}
	return t.pages[i], int(block % uint64(bitmapEntries))
}

// The low-order bit of an entry is its count's high bit.
const (
	rawNone = 0
	rawTwo  = 1
	rawOne  = 2
	rawMore = 3
)

// rawIn is entry i of a bitmap block.
func rawIn(b []byte, i int) byte { return b[bitmapHeader+i/4] >> (i % 4 * 2) & 3 }

func (p *tallyPage) raw(i int) byte { return rawIn(p.bitmap[:], i) }

func (p *tallyPage) setRaw(i int, raw byte) {
	at, shift := bitmapHeader+i/4, i%4*2
	p.bitmap[at] = p.bitmap[at]&^(3<<shift) | raw<<shift
}

func (t *tally) add(block uint64) {
	p, i := t.page(block)
	switch p.raw(i) {
	case rawNone:
		p.used++
		t.used++
		p.setRaw(i, rawOne)
	case rawOne:
		p.setRaw(i, rawTwo)
	case rawTwo:
		p.setRaw(i, rawMore)
		p.setMore(i, 3)
	default:
		p.setMore(i, p.more(i)+1)
	}
}

// sub takes back one add.
func (t *tally) sub(block uint64) {
	p, i := t.page(block)
	switch p.raw(i) {
	case rawOne:
		p.used--
		t.used--
		p.setRaw(i, rawNone)
	case rawTwo:
		p.setRaw(i, rawOne)
	case rawMore:
		n := p.more(i) - 1
		p.setMore(i, n)
		if n == 2 {
			p.setRaw(i, rawTwo)
			delete(p.few, i)
		}
	}
}

func (p *tallyPage) more(i int) uint32 {
	if p.many != nil {
		return p.many[i]
	}
	return p.few[i]
}

func (p *tallyPage) setMore(i int, n uint32) {
	if p.many != nil {
		p.many[i] = n
		return
	}
	if p.few == nil {
		p.few = make(map[int]uint32)
	}
	p.few[i] = n
	if len(p.few) > fewCounts {
		p.many = make([]uint32, bitmapEntries)
		for i, n := range p.few {
			p.many[i] = n
		}
		p.few = nil
	}
}

// overflow yields the blocks with counts over 2, which go into a btree.
func (t *tally) overflow() iter.Seq2[uint64, uint32] {
	return func(yield func(uint64, uint32) bool) {
		for n, p := range t.pages {
			if p == nil {
				continue
			}
			first := uint64(n) * uint64(bitmapEntries)
			for _, i := range slices.Sorted(maps.Keys(p.few)) {
				if !yield(first+uint64(i), p.few[i]) {
					return
				}
			}
			for i, count := range p.many {
				if p.raw(i) == rawMore && !yield(first+uint64(i), count) {
					return
				}
			}
		}
	}
}

// firstFree is the index entry's none_free_before.
func (p *tallyPage) firstFree() int {
	for i := range bitmapEntries {
		if p.raw(i) == rawNone {
			return i
		}
	}
	return bitmapEntries
}

// indexEntrySize is struct disk_index_entry.
const indexEntrySize = 16

// encode writes page n into b, unsealed, and its index entry into entry.
// nr_free counts the whole bitmap even where the device ends inside it: the
// kernel does so (dm-space-map-common.c, sm_ll_extend) and relies on it when
// the device grows.
func (t *tally) encode(n int, block uint64, b, entry []byte) {
	p := &tallyPage{}
	if n < len(t.pages) && t.pages[n] != nil {
		p = t.pages[n]
	}
	copy(b, p.bitmap[:])
	le := binary.LittleEndian
	le.PutUint64(b[8:], block)
	le.PutUint64(entry, block)
	le.PutUint32(entry[8:], uint32(bitmapEntries-p.used))
	le.PutUint32(entry[12:], uint32(p.firstFree()))
}

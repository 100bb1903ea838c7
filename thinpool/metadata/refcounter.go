package metadata

import (
	"encoding/binary"
	"iter"
	"maps"
	"slices"
)

// bitmapEntries is the number of two-bit counts in a bitmap block, after a header of
// 16 bytes (persistent-data/dm-space-map-common.h).
const (
	bitmapHeader  = 16
	bitmapEntries = 4 * (int(BlockSize) - bitmapHeader)
)

// fewCounts is the number of counts over 2 that a page keeps in a map. With more it allocates 4
// bytes for each of its blocks.
const fewCounts = 1024

// refCounter counts the references to each block of a device. It holds a page of 4 KiB for each
// 16320 blocks if any of them is in use.
type refCounter struct {
	pages []*refPage
	used  uint64 // blocks with a reference
}

// refPage is a bitmap block under construction, and the counts that do not fit two bits.
type refPage struct {
	bitmap [blockSize]byte
	used   int
	few    map[int]uint32
	many   []uint32
}

func newRefCounter(blocks uint64) *refCounter {
	return &refCounter{pages: make([]*refPage, bitmapsFor(blocks))}
}

func bitmapsFor(blocks uint64) uint64 {
	n := blocks / uint64(bitmapEntries)
	if blocks%uint64(bitmapEntries) != 0 {
		n++
	}
	return n
}

func (t *refCounter) page(block uint64) (*refPage, int) {
	i := block / uint64(bitmapEntries)
	for uint64(len(t.pages)) <= i {
		t.pages = append(t.pages, nil)
	}
	if t.pages[i] == nil {
		t.pages[i] = new(refPage)
	}
	return t.pages[i], int(block % uint64(bitmapEntries))
}

// The values of the two bits of an entry, whose low bit is the count's high bit.
const (
	rawNone = 0
	rawTwo  = 1
	rawOne  = 2
	rawMore = 3
)

// rawIn returns entry i of a bitmap block.
func rawIn(b []byte, i int) byte { return b[bitmapHeader+i/4] >> (i % 4 * 2) & 3 }

func (p *refPage) raw(i int) byte { return rawIn(p.bitmap[:], i) }

func (p *refPage) setRaw(i int, raw byte) {
	at, shift := bitmapHeader+i/4, i%4*2
	p.bitmap[at] = p.bitmap[at]&^(3<<shift) | raw<<shift
}

func (t *refCounter) add(block uint64) {
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

// sub removes one reference.
func (t *refCounter) sub(block uint64) {
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

func (p *refPage) more(i int) uint32 {
	if p.many != nil {
		return p.many[i]
	}
	return p.few[i]
}

func (p *refPage) setMore(i int, n uint32) {
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

// overflow yields the blocks with counts over 2, which belong in a btree.
func (t *refCounter) overflow() iter.Seq2[uint64, uint32] {
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

// firstFree returns the first free entry, none_free_before of the index entry.
func (p *refPage) firstFree() int {
	for i := range bitmapEntries {
		if p.raw(i) == rawNone {
			return i
		}
	}
	return bitmapEntries
}

// indexEntrySize is the size of struct disk_index_entry.
const indexEntrySize = 16

// encode writes page n into b, without its checksum, and the index entry into entry. nr_free
// counts the whole bitmap even if the device ends inside it: the kernel does the same
// (dm-space-map-common.c, sm_ll_extend) and relies on it when the device grows.
func (t *refCounter) encode(n int, block uint64, b, entry []byte) {
	p := &refPage{}
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

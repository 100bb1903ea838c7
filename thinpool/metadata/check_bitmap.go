package metadata

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// inBitmap is a count by its raw two bits; rawMore says only that there is a
// record elsewhere.
var inBitmap = [4]uint32{rawNone: 0, rawOne: 1, rawTwo: 2, rawMore: 3}

// bitmapReading compares one bitmap with what was counted.
type bitmapReading struct {
	*checker
	sm    *recorded
	entry indexEntry
	b     []byte

	// A run of blocks that are wrong alike.
	first, length uint64
	has, wants    uint32
}

func (r *bitmapReading) raw(i int) byte { return rawIn(r.b, i) }

// perWord is how many blocks' counts eight bytes of a bitmap hold.
const perWord = 32

// word is the raw counts of the blocks from i on, a multiple of perWord.
func (r *bitmapReading) word(i int) uint64 {
	return binary.LittleEndian.Uint64(r.b[bitmapHeader+i/4:])
}

// against compares the blocks of the bitmap from lowest up to, but not with,
// beyond. The bitmap's own figures are looked at where its end is among them.
func (r *bitmapReading) against(lowest, beyond uint64, used uses) error {
	from := r.entry.number * uint64(bitmapEntries)
	end := min(beyond, from+uint64(bitmapEntries))
	more, err := r.overflowing(r.sm, lowest, end)
	if err != nil {
		return err
	}
	for block := lowest; block < end; {
		marks, n := used(block)
		start, part := block, min(end, block+n)
		for ; block < part; block++ {
			i := int(block - from)
			if marks == nil && i%perWord == 0 && block+perWord <= part && r.word(i) == 0 && (len(more) == 0 || more[0].block >= block+perWord) {
				block += perWord - 1
				continue
			}
			raw := r.raw(i)
			count := inBitmap[raw]
			recorded := len(more) > 0 && more[0].block == block
			if recorded {
				if raw == rawMore {
					count = more[0].count
				}
				more = more[1:]
			}
			if recorded != (raw == rawMore) || raw == rawMore && count < rawMore {
				r.miscounted(block, recorded, count)
				continue
			}
			wanted := uint32(0)
			if marks != nil {
				wanted = countOf(marks[block-start])
			}
			if count != wanted {
				r.wrong(block, count, wanted)
			}
		}
	}
	r.tell()
	if beyond >= min(r.sm.root.Blocks, from+uint64(bitmapEntries)) {
		r.figures()
	}
	return nil
}

func (r *bitmapReading) miscounted(block uint64, recorded bool, count uint32) {
	text := fmt.Sprintf("%s block %d is counted more than twice and there is no record of how often", r.sm.name, block)
	if recorded {
		text = fmt.Sprintf("%s block %d is counted %d times and has a record as if it were more than twice", r.sm.name, block, count)
	}
	r.find(Finding{Code: CodeOverflow, Severity: Damage, Block: block, Repairable: true, Text: text})
}

// wrong adds a block to the run of those that are wrong in the same way.
func (r *bitmapReading) wrong(block uint64, has, wants uint32) {
	if r.length > 0 && r.first+r.length == block && r.has == has && r.wants == wants {
		r.length++
		return
	}
	r.tell()
	r.first, r.length, r.has, r.wants = block, 1, has, wants
}

func (r *bitmapReading) tell() {
	if r.length == 0 {
		return
	}
	f := Finding{Code: r.sm.less, Severity: Damage, Block: r.first, Count: r.length, Repairable: true}
	f.Text = fmt.Sprintf("%s blocks %d to %d are used %d times and counted %d times", r.sm.name, r.first, r.first+r.length-1, r.wants, r.has)
	if r.length == 1 {
		f.Text = fmt.Sprintf("%s block %d is used %d times and counted %d times", r.sm.name, r.first, r.wants, r.has)
	}
	if r.has > r.wants {
		f.Code, f.Severity = r.sm.leak, Leak
	}
	r.length = 0
	if f.Severity == Damage || !r.hidden {
		r.find(f)
	}
}

// figures looks at what the index says of the bitmap, which counts it whole
// even where the device ends inside it (dm-space-map-common.c, sm_ll_extend).
func (r *bitmapReading) figures() {
	free, first := uint32(0), -1
	for i := 0; i < bitmapEntries; i += perWord {
		w := r.word(i)
		none := ^(w | w>>1) & 0x5555555555555555 // both bits of a count are 0
		if first < 0 && none != 0 {
			first = i + bits.TrailingZeros64(none)/2
		}
		free += uint32(bits.OnesCount64(none))
	}
	r.sm.allocated.Add(uint64(bitmapEntries) - uint64(free))
	e := r.entry
	if free != e.free {
		r.find(Finding{Code: CodeIndex, Severity: Damage, Block: e.block, Repairable: true,
			Text: fmt.Sprintf("bitmap %d of the %s space map has %d free blocks, the index says %d", e.number, r.sm.name, free, e.free)})
	}
	if first >= 0 && uint32(first) < e.noneFreeBefore {
		r.find(Finding{Code: CodeIndex, Severity: Leak, Block: e.block, Repairable: true,
			Text: fmt.Sprintf("bitmap %d of the %s space map has block %d free, the index says none before %d", e.number, r.sm.name, first, e.noneFreeBefore)})
	}
}

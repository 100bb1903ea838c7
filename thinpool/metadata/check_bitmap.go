package metadata

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// inBitmap is the count for each value of the two bits. For rawMore the count is in the btree
// of counts.
var inBitmap = [4]uint32{rawNone: 0, rawOne: 1, rawTwo: 2, rawMore: 3}

// bitmapCheck compares one bitmap with the references that were counted.
type bitmapCheck struct {
	*checker
	sm    *diskSpaceMap
	entry indexEntry
	b     []byte

	// A run of blocks with the same wrong count.
	first, length uint64
	has, wants    uint32
}

func (r *bitmapCheck) raw(i int) byte { return rawIn(r.b, i) }

// perWord is the number of counts in eight bytes of a bitmap.
const perWord = 32

// word returns the raw counts of perWord blocks that begin at i, a multiple of perWord.
func (r *bitmapCheck) word(i int) uint64 {
	return binary.LittleEndian.Uint64(r.b[bitmapHeader+i/4:])
}

// compare compares the blocks of the bitmap in [lowest, beyond). It checks the index entry if
// the bitmap ends in that range.
func (r *bitmapCheck) compare(lowest, beyond uint64, used refsFunc) error {
	from := r.entry.number * uint64(bitmapEntries)
	end := min(beyond, from+uint64(bitmapEntries))
	more, err := r.overflowCounts(r.sm, lowest, end)
	if err != nil {
		return err
	}
	for block := lowest; block < end; {
		refs, n := used(block)
		start, part := block, min(end, block+n)
		for ; block < part; block++ {
			i := int(block - from)
			if refs == nil && i%perWord == 0 && block+perWord <= part && r.word(i) == 0 &&
				(len(more) == 0 || more[0].block >= block+perWord) {
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
				r.addOverflow(block, recorded, count)
				continue
			}
			wanted := uint32(0)
			if refs != nil {
				wanted = countOf(refs[block-start])
			}
			if count != wanted {
				r.addMismatch(block, count, wanted)
			}
		}
	}
	r.flushRun()
	if beyond >= min(r.sm.root.Blocks, from+uint64(bitmapEntries)) {
		r.checkEntry()
	}
	return nil
}

func (r *bitmapCheck) addOverflow(block uint64, recorded bool, count uint32) {
	text := fmt.Sprintf("%s block %d has a count over 2, and the record of the count is missing", r.sm.name, block)
	if recorded {
		text = fmt.Sprintf("%s block %d has a count of %d, and a record for a count over 2", r.sm.name, block, count)
	}
	r.add(Finding{Code: CodeOverflow, Severity: Damage, Block: block, Repairable: true, Text: text})
}

// addMismatch adds a block to the run of blocks with the same wrong count.
func (r *bitmapCheck) addMismatch(block uint64, has, wants uint32) {
	if r.length > 0 && r.first+r.length == block && r.has == has && r.wants == wants {
		r.length++
		return
	}
	r.flushRun()
	r.first, r.length, r.has, r.wants = block, 1, has, wants
}

func (r *bitmapCheck) flushRun() {
	if r.length == 0 {
		return
	}
	f := Finding{Code: r.sm.undercount, Severity: Damage, Block: r.first, Count: r.length, Repairable: true}
	f.Text = fmt.Sprintf("%s blocks %d to %d are used %d times and counted %d times", r.sm.name, r.first,
		r.first+r.length-1, r.wants, r.has)
	if r.length == 1 {
		f.Text = fmt.Sprintf("%s block %d is used %d times and counted %d times", r.sm.name, r.first, r.wants, r.has)
	}
	if r.has > r.wants {
		f.Code, f.Severity = r.sm.leak, Leak
	}
	r.length = 0
	if f.Severity == Damage || !r.incomplete {
		r.add(f)
	}
}

// checkEntry compares the index entry with the bitmap. nr_free counts the whole bitmap even if
// the device ends inside it (dm-space-map-common.c, sm_ll_extend).
func (r *bitmapCheck) checkEntry() {
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
		r.add(Finding{Code: CodeIndex, Severity: Damage, Block: e.block, Repairable: true,
			Text: fmt.Sprintf("bitmap %d of the %s space map has %d free blocks, the index counts %d", e.number, r.sm.name,
				free, e.free)})
	}
	if first >= 0 && uint32(first) < e.noneFreeBefore {
		r.add(Finding{Code: CodeIndex, Severity: Leak, Block: e.block, Repairable: true,
			Text: fmt.Sprintf("bitmap %d of the %s space map has block %d free, the index has none_free_before %d", e.number,
				r.sm.name, first, e.noneFreeBefore)})
	}
}

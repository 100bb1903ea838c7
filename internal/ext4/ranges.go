package ext4

import (
	"fmt"
	"iter"
	"math"
	"sort"

	"thinctl/fault"
	"thinctl/units"
)

// Range is a range of bytes of both devices.
type Range struct{ Offset, Length units.Bytes }

// span is a range from begin to end, without end.
type span struct{ begin, end uint64 }

// spans are in order, and no two of them touch.
type spans []span

func collect(changed iter.Seq[Range]) (spans, error) {
	var all spans
	for r := range changed {
		if r.Length == 0 {
			continue
		}
		begin, last := uint64(r.Offset), len(all)-1
		if uint64(r.Length) > math.MaxInt64-begin || begin > math.MaxInt64 || last >= 0 && begin < all[last].end {
			return nil, &Error{Op: "compare", Object: "ext4 file systems", Kind: fault.Invalid,
				Detail: fmt.Sprintf("the range of %s at %s is not in order", r.Length.Exact(), r.Offset.Exact())}
		}
		end := begin + uint64(r.Length)
		if last >= 0 && begin == all[last].end {
			all[last].end = end
		} else {
			all = append(all, span{begin, end})
		}
	}
	return all, nil
}

// within yields the parts of s in a range.
func (s spans) within(begin, end uint64) iter.Seq[span] {
	return func(yield func(span) bool) {
		first := sort.Search(len(s), func(i int) bool { return s[i].end > begin })
		for _, one := range s[first:] {
			if one.begin >= end || !yield(span{max(one.begin, begin), min(one.end, end)}) {
				return
			}
		}
	}
}

// touch reports whether a part of s is in a range.
func (s spans) touch(begin, end uint64) bool {
	for range s.within(begin, end) {
		return true
	}
	return false
}

package config

import (
	"fmt"
	"math/bits"

	"thinctl/units"
)

// Threshold says when a space is low: from so many percent in use on, or when no
// more than so much is free.
type Threshold struct {
	Percent int
	Free    units.Bytes // where Percent is 0
}

// Passed tells whether a space of that size with so much in use is low.
func (t Threshold) Passed(used, total units.Bytes) bool {
	if total == 0 {
		return false
	}
	if t.Percent == 0 {
		return total-min(used, total) <= t.Free
	}
	// Without overflow: used/total >= percent/100.
	usedHigh, usedLow := bits.Mul64(uint64(used), 100)
	markHigh, markLow := bits.Mul64(uint64(total), uint64(t.Percent))
	return usedHigh > markHigh || usedHigh == markHigh && usedLow >= markLow
}

// Enough returns a size, a sum of steps over total, at which a space with so much
// in use is not low any more.
func (t Threshold) Enough(used, total units.Bytes, step Step) units.Bytes {
	const most = 1 << 62
	for t.Passed(used, total) && total < most {
		total += step.Of(total)
	}
	return total
}

func (t Threshold) String() string {
	if t.Percent == 0 {
		return t.Free.Exact() + " free"
	}
	return fmt.Sprintf("%d%%", t.Percent)
}

// Step says by how much a space grows: percent of its size, or bytes.
type Step struct {
	Percent int
	Size    units.Bytes // where Percent is 0
}

// Of returns the step of a space of that size.
func (s Step) Of(total units.Bytes) units.Bytes {
	if s.Percent == 0 {
		return max(1, s.Size)
	}
	high, low := bits.Mul64(uint64(total), uint64(s.Percent))
	if high >= 100 {
		return 1 << 62
	}
	quotient, _ := bits.Div64(high, low, 100)
	return max(1, units.Bytes(quotient))
}

func (s Step) String() string {
	if s.Percent == 0 {
		return s.Size.Exact()
	}
	return fmt.Sprintf("%d%%", s.Percent)
}

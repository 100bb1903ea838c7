package config

import (
	"fmt"
	"math/bits"

	"thinctl/units"
)

// Threshold is the point at which a space is low: a percentage in use, or a free size.
type Threshold struct {
	Percent int
	Free    units.Bytes // if Percent is 0
}

// Passed reports whether a space with the given used and total size is low.
func (t Threshold) Passed(used, total units.Bytes) bool {
	if total == 0 {
		return false
	}
	if t.Percent == 0 {
		return total-min(used, total) <= t.Free
	}
	// This is used/total >= percent/100, without overflow.
	usedHigh, usedLow := bits.Mul64(uint64(used), 100)
	markHigh, markLow := bits.Mul64(uint64(total), uint64(t.Percent))
	return usedHigh > markHigh || usedHigh == markHigh && usedLow >= markLow
}

// Enough adds steps to total until a space with the given used size is not low, and
// returns the sum.
func (t Threshold) Enough(used, total units.Bytes, step Step) units.Bytes {
	const largest = 1 << 62
	for t.Passed(used, total) && total < largest {
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

// Step is the growth of a space: a percentage of its size, or a size.
type Step struct {
	Percent int
	Size    units.Bytes // if Percent is 0
}

// Of returns the growth of a space of a given size.
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

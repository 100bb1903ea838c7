package poolmap

import (
	"math/bits"

	"thinctl/units"
)

// grid is the division of a device into rows of cells.
type grid struct {
	per     uint64 // blocks in a cell
	columns uint64
	rows    uint64
}

// layout returns the finest grid of at most columns by rows cells with round steps: a cell
// has a power of two blocks, and the number of columns is a power of two, or 5/4 or 3/2 of
// one.
func layout(blocks, columns, rows uint64) grid {
	columns = roundDown(max(columns, 1))
	cells := columns * max(rows, 1)
	per := uint64(1) << bits.Len64((blocks-1)/cells)
	return grid{per: per, columns: columns, rows: ((blocks-1)/per)/columns + 1}
}

func roundDown(n uint64) uint64 {
	if n <= 4 {
		return n
	}
	step := uint64(1) << (bits.Len64(n) - 3)
	return min(n/step, 6) * step
}

// cells returns the number of cells that the device fills.
func (g grid) cells(blocks uint64) uint64 { return (blocks-1)/g.per + 1 }

// address formats an offset on the device exactly, with a unit.
func address(b units.Bytes) string {
	s := b.String()
	if b == 0 {
		return "0"
	}
	if parsed, err := units.Parse(s); err == nil && parsed == b {
		return s
	}
	return b.Exact()
}

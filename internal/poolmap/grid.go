package poolmap

import (
	"math/bits"

	"thinctl/units"
)

// grid is how a device is cut into rows of cells.
type grid struct {
	per     uint64 // blocks in a cell
	columns uint64
	rows    uint64
}

// layout finds the finest grid of at most columns by rows cells whose steps are
// round: a cell is a power of two blocks, and the columns are a power of two,
// or 5/4 or 3/2 of one.
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

// cells is how many cells the device fills.
func (g grid) cells(blocks uint64) uint64 { return (blocks-1)/g.per + 1 }

// address writes a place on the device without loss, as people read sizes.
func address(b units.Bytes) string {
	s := b.String()
	if b == 0 {
		return "0"
	}
	if again, err := units.Parse(s); err == nil && again == b {
		return s
	}
	return b.Exact()
}

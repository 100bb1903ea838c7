package poolmap

// layer is a share of a cell in one paint: a class, or one of the greys that
// the other volumes take by turn.
type layer struct {
	paint  paint
	blocks uint64
}

type paint uint8

// Paints in the order of stacking, from below: what is used fills a cell from
// its foot, free space stays above it.
const (
	sharedPaint paint = iota
	volumePaint
	greyPaint = volumePaint + named
	freePaint = greyPaint + paint(len(otherGreys))
	paints    = freePaint + 1
)

func paintOf(rank int) paint {
	if rank < named {
		return volumePaint + paint(rank)
	}
	return greyPaint + paint(rank%len(otherGreys))
}

func (p paint) class() class {
	switch {
	case p == sharedPaint:
		return shared
	case p == freePaint:
		return free
	case p >= greyPaint:
		return other
	}
	return class(p - volumePaint)
}

func (p paint) colour() colour {
	switch {
	case p == sharedPaint:
		return sharedColour
	case p >= greyPaint:
		return otherGreys[p-greyPaint]
	}
	return volumeColours[p-volumePaint]
}

// stack appends the cell's layers to room, from below.
func (c *cell) stack(room []layer) []layer {
	var sums [paints]uint64
	sums[sharedPaint], sums[freePaint] = c.shared, c.free
	for _, p := range c.parts {
		sums[paintOf(p.rank)] += p.blocks
	}
	for p, blocks := range sums {
		if blocks > 0 {
			room = append(room, layer{paint(p), blocks})
		}
	}
	return room
}

// heights divides steps, of which there are no fewer than layers, in proportion
// to the layers' blocks: none gets nothing.
func heights(layers []layer, steps int) []int {
	total := 0.0
	for _, l := range layers {
		total += float64(l.blocks)
	}
	given := make([]int, len(layers))
	left := steps
	for i, l := range layers {
		given[i] = max(1, int(float64(l.blocks)/total*float64(steps)))
		left -= given[i]
	}
	// What rounding left over, or took too much, falls on the layer that is
	// farthest from its due.
	for ; left != 0; left -= sign(left) {
		worst, gap := -1, 0.0
		for i, l := range layers {
			if given[i]+sign(left) < 1 {
				continue
			}
			off := (float64(l.blocks)/total*float64(steps) - float64(given[i])) * float64(sign(left))
			if worst < 0 || off > gap {
				worst, gap = i, off
			}
		}
		given[worst] += sign(left)
	}
	return given
}

func sign(n int) int {
	if n < 0 {
		return -1
	}
	return 1
}

package poolmap

// layer is a share of a cell in one paint.
type layer struct {
	paint  paint
	blocks uint64
}

// paint is a class, or one of the greys of the other volumes.
type paint uint8

// The paints are in the order of stacking, from the bottom: free space is at the top of a
// cell.
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

// stack appends the cell's layers to a slice, from the bottom.
func (c *cell) stack(to []layer) []layer {
	var sums [paints]uint64
	sums[sharedPaint], sums[freePaint] = c.shared, c.free
	for _, p := range c.parts {
		sums[paintOf(p.rank)] += p.blocks
	}
	for p, blocks := range sums {
		if blocks > 0 {
			to = append(to, layer{paint(p), blocks})
		}
	}
	return to
}

// heights divides a number of steps in proportion to the layers' blocks. There must be at
// least as many steps as layers: each layer gets one or more.
func heights(layers []layer, steps int) []int {
	total := 0.0
	for _, l := range layers {
		total += float64(l.blocks)
	}
	heights := make([]int, len(layers))
	left := steps
	for i, l := range layers {
		heights[i] = max(1, int(float64(l.blocks)/total*float64(steps)))
		left -= heights[i]
	}
	// Rounding has left steps over, or used too many. Correct the layers that are farthest
	// from their exact height.
	for ; left != 0; left -= sign(left) {
		worst, gap := -1, 0.0
		for i, l := range layers {
			if heights[i]+sign(left) < 1 {
				continue
			}
			off := (float64(l.blocks)/total*float64(steps) - float64(heights[i])) * float64(sign(left))
			if worst < 0 || off > gap {
				worst, gap = i, off
			}
		}
		heights[worst] += sign(left)
	}
	return heights
}

func sign(n int) int {
	if n < 0 {
		return -1
	}
	return 1
}

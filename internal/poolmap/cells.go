package poolmap

import "slices"

// class is the kind of drawing of a share of a cell: a named volume by its rank, or one of
// the constants below.
type class uint8

const (
	other class = named + iota
	shared
	free
	classes
)

// cell is a range of blocks that is drawn as one.
type cell struct {
	begin, blocks uint64
	free, shared  uint64
	parts         []part // exclusive blocks, by rank
}

type part struct {
	rank   int
	blocks uint64
}

// shares sums the cell's blocks by class.
func (c *cell) shares() (s [classes]uint64) {
	s[free], s[shared] = c.free, c.shared
	for _, p := range c.parts {
		s[min(p.rank, int(other))] += p.blocks
	}
	return s
}

// whole reports whether all blocks are free, all are shared, or all belong to one volume.
func (c *cell) whole() bool {
	return c.free == c.blocks || c.shared == c.blocks ||
		len(c.parts) == 1 && c.parts[0].blocks == c.blocks
}

// cells visits the device's cells of per blocks, in order. The last cell may have fewer
// blocks. A cell is valid only during its visit.
func (m Map) cells(f figures, per uint64, visit func(*cell) error) error {
	var c cell
	filled := uint64(0)
	counts := make([]uint64, len(f.ranked))
	begin := func(at uint64) {
		c = cell{begin: at, blocks: min(per, m.Blocks-at), parts: c.parts[:0]}
		filled = 0
	}
	finish := func() error {
		for i := range c.parts {
			p := &c.parts[i]
			p.blocks, counts[p.rank] = counts[p.rank], 0
		}
		slices.SortFunc(c.parts, func(a, b part) int { return a.rank - b.rank })
		return visit(&c)
	}
	begin(0)
	return m.runs(func(run Span) error {
		for left := run.Blocks; left > 0; {
			n := min(left, c.blocks-filled)
			switch run.Kind {
			case Free:
				c.free += n
			case Shared:
				c.shared += n
			case Exclusive:
				rank := f.rank[run.Owner]
				if rank < 0 {
					return ErrSpans // the spans differ from those of the first reading
				}
				if counts[rank] == 0 {
					c.parts = append(c.parts, part{rank: rank})
				}
				counts[rank] += n
			}
			left -= n
			filled += n
			if filled < c.blocks {
				continue
			}
			if err := finish(); err != nil {
				return err
			}
			if next := c.begin + c.blocks; next < m.Blocks {
				begin(next)
			}
		}
		return nil
	})
}

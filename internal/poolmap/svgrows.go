package poolmap

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// rows draws the cells, one group for each row: first the paints, then the areas with
// titles for the pointer.
func (d *drawing) rows(f figures) error {
	var layers []layer
	row := row{drawing: d, names: make([]string, len(f.ranked))}
	index, last := uint64(0), d.grid.cells(d.Blocks)
	return d.cells(f, d.grid.per, func(c *cell) error {
		layers = c.stack(layers[:0])
		row.draw(int(index%d.grid.columns)*d.cellWidth, layers)
		row.name(f, c)
		index++
		if index%d.grid.columns == 0 || index == last {
			row.end((index - 1) / d.grid.columns)
		}
		return nil
	})
}

// row collects the drawing of a row of cells.
type row struct {
	*drawing
	width int
	open  [paints]box // boxes that the next cell may continue
	paths [paints]strings.Builder
	hits  strings.Builder
	hit   hit
	names []string // by rank, shortened and escaped; "" until first used
}

type box struct{ x, y, width, height int }

func (b box) path() string {
	if b.width == 0 {
		return ""
	}
	return fmt.Sprintf("M%d %dh%dv%dh-%dz", b.x, b.y, b.width, b.height, b.width)
}

// draw stacks the layers of the cell at x from its bottom.
func (r *row) draw(x int, layers []layer) {
	y := cellHeight
	for i, height := range heights(layers, cellHeight) {
		y -= height
		p := layers[i].paint
		if p == freePaint {
			continue // it is the row's background
		}
		b := box{x, y, r.cellWidth, height}
		if o := r.open[p]; o.y == y && o.height == height && o.x+o.width == x {
			r.open[p].width += b.width
			continue
		}
		r.paths[p].WriteString(r.open[p].path())
		r.open[p] = b
	}
	r.width = x + r.cellWidth
}

// hit is the part of a row that has one title: a mixed cell, or successive whole cells of
// one owner.
type hit struct {
	x, width      int
	begin, blocks uint64
	label         string
	whole         bool
}

// name adds a title for the cell, or adds the cell to the previous title.
func (r *row) name(f figures, c *cell) {
	h := hit{
		x: r.width - r.cellWidth, width: r.cellWidth,
		begin: c.begin, blocks: c.blocks, label: r.label(f, c), whole: c.whole(),
	}
	if r.hit.whole && h.whole && r.hit.label == h.label {
		r.hit.width += h.width
		r.hit.blocks += h.blocks
		return
	}
	r.endHit()
	r.hit = h
}

func (r *row) endHit() {
	h := r.hit
	if h.width > 0 {
		fmt.Fprintf(&r.hits, "<path d=\"%s\"><title>%s, %s at %s</title></path>\n", box{h.x, 0, h.width, cellHeight}.path(),
			h.label, r.size(h.blocks), address(r.size(h.begin)))
	}
	r.hit = hit{}
}

const (
	titleShares    = 3  // the number of shares in a title
	titleNameBytes = 40 // the largest length of an escaped name in a title
)

// label returns the owners of the cell, the largest shares first.
func (r *row) label(f figures, c *cell) string {
	type share struct {
		rank   int
		blocks uint64
	}
	const sharedRank, freeRank = -2, -1
	shares := []share{{sharedRank, c.shared}, {freeRank, c.free}}
	for _, p := range c.parts {
		shares = append(shares, share(p))
	}
	shares = slices.DeleteFunc(shares, func(s share) bool { return s.blocks == 0 })
	slices.SortStableFunc(shares, func(a, b share) int { return cmp.Compare(b.blocks, a.blocks) })
	var words []string
	rest := c.blocks
	for i, s := range shares {
		if i == titleShares {
			words = append(words, fmt.Sprintf("%d more %s", len(shares)-titleShares, percent(rest, c.blocks)))
			break
		}
		rest -= s.blocks
		name := map[int]string{sharedRank: "shared", freeRank: "free"}[s.rank]
		if s.rank >= 0 {
			if r.names[s.rank] == "" {
				r.names[s.rank] = short(clean(r.Owners[f.ranked[s.rank].owner]))
			}
			name = r.names[s.rank]
		}
		if s.blocks < c.blocks {
			name += " " + percent(s.blocks, c.blocks)
		}
		words = append(words, name)
	}
	return strings.ReplaceAll(strings.Join(words, ", "), "<0", "&lt;0")
}

// short returns a name for a title, shortened and escaped.
func short(name string) string {
	name = fit(name, 24, "…")
	for limit := 24; ; limit-- {
		if s := escape(fit(name, limit, "…")); len(s) <= titleNameBytes {
			return s
		}
	}
}

// end writes the row and resets it for the next one.
func (r *row) end(index uint64) {
	y := r.top + int(index)*rowPitch
	r.text(r.left-8, y+12, "n r", r.address(index))
	fmt.Fprintf(r.out, `<g transform="translate(%d %d)" shape-rendering="crispEdges">`+
		`<rect class="p%d" width="%d" height="%d"/>`+"\n", r.left, y, freePaint, r.width, cellHeight)
	for p := range r.paths {
		r.paths[p].WriteString(r.open[p].path())
		r.open[p] = box{}
		if r.paths[p].Len() > 0 {
			fmt.Fprintf(r.out, `<path class="p%d" d="%s"/>`+"\n", p, r.paths[p].String())
		}
		r.paths[p].Reset()
	}
	r.endHit()
	fmt.Fprintf(r.out, "<g class=\"hit\">\n%s</g></g>\n", r.hits.String())
	r.hits.Reset()
}

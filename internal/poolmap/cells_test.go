package poolmap

import (
	"errors"
	"math/rand/v2"
	"testing"

	"thinctl/units"
)

// randomMap returns a valid map, with the sums of its spans.
func randomMap(r *rand.Rand) (m Map, free, shared uint64, owned []uint64) {
	m = Map{BlockSize: 64 * units.KiB, Owners: make([]string, 1+r.IntN(30))}
	owned = make([]uint64, len(m.Owners))
	var spans []Span
	for range 1 + r.IntN(200) {
		s := Span{
			Begin: m.Blocks, Blocks: 1 + r.Uint64N(1<<r.IntN(12)), Kind: Kind(r.IntN(3)), Owner: r.IntN(len(owned)),
		}
		m.Blocks += s.Blocks
		spans = append(spans, s)
		switch s.Kind {
		case Free:
			free += s.Blocks
		case Shared:
			shared += s.Blocks
		case Exclusive:
			owned[s.Owner] += s.Blocks
		}
	}
	m.Spans = spansOf(spans...)
	return m, free, shared, owned
}

func TestEveryBlockIsDrawnOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		m, free, shared, owned := randomMap(r)
		f, err := m.figures()
		if err != nil {
			t.Fatal(err)
		}
		if f.free.blocks != free || f.shared.blocks != shared || f.free.blocks+f.used() != m.Blocks {
			t.Fatalf("got figures %+v, want %d blocks, %d free, %d shared", f, m.Blocks, free, shared)
		}
		per := 1 + r.Uint64N(m.Blocks)
		drawn := make([]uint64, len(owned))
		next := uint64(0)
		err = m.cells(f, per, func(c *cell) error {
			if c.begin != next {
				t.Fatalf("got a cell at %d, want %d", c.begin, next)
			}
			next += c.blocks
			free, shared = free-c.free, shared-c.shared
			sum := c.free + c.shared
			for _, p := range c.parts {
				drawn[f.ranked[p.rank].owner] += p.blocks
				sum += p.blocks
			}
			stacked := uint64(0)
			for _, l := range c.stack(nil) {
				stacked += l.blocks
			}
			classed := uint64(0)
			for _, blocks := range c.shares() {
				classed += blocks
			}
			if sum != c.blocks || stacked != sum || classed != sum {
				t.Fatalf("a cell: got %d blocks, %d stacked, %d by class, want %d", sum, stacked, classed, c.blocks)
			}
			return nil
		})
		if err != nil || next != m.Blocks || free != 0 || shared != 0 {
			t.Fatalf("got cells up to %d, %v, with %d free and %d shared blocks missing, want all %d",
				next, err, free, shared, m.Blocks)
		}
		for owner := range owned {
			if drawn[owner] != owned[owner] {
				t.Fatalf("owner %d: got %d blocks, want %d", owner, drawn[owner], owned[owner])
			}
		}
		for _, listed := range []int{0, named, listed} {
			legend := uint64(0)
			for _, e := range m.legend(f, listed) {
				legend += e.blocks
			}
			if legend != m.Blocks {
				t.Fatalf("legend: got %d blocks, want %d", legend, m.Blocks)
			}
		}
	}
}

func TestLegendRanksAndCountsRuns(t *testing.T) {
	m := sampleMaps()["64M"]
	f, err := m.figures()
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{
		{name: "shared by two or more", sum: sum{218, 2}}, {name: "free", sum: sum{383, 3}},
		{name: "db", sum: sum{286, 4}}, {name: "web", sum: sum{127, 2}}, {name: "cache", sum: sum{10, 4}},
	}
	for i, e := range m.legend(f, named) {
		if e.name != want[i].name || e.sum != want[i].sum {
			t.Errorf("line %d: got %s %+v, want %s %+v", i, e.name, e.sum, want[i].name, want[i].sum)
		}
	}
	if f.longestFree != (Span{705, 319, Free, 0}) {
		t.Errorf("longest free run: got %+v, want 319 blocks at 705", f.longestFree)
	}
}

// Adjacent spans of the same kind and owner are one run.
func TestAdjacentSpansAreOneRun(t *testing.T) {
	m := Map{BlockSize: units.MiB, Blocks: 6, Owners: []string{"a", "b"}, Spans: spansOf(
		Span{0, 1, Exclusive, 0}, Span{1, 2, Exclusive, 0}, Span{3, 1, Exclusive, 1},
		Span{4, 1, Free, 1}, Span{5, 1, Free, 0},
	)}
	f, err := m.figures()
	if err != nil || f.exclusive != (sum{4, 2}) || f.free != (sum{2, 1}) {
		t.Errorf("got %+v, %v, want 4 exclusive blocks in 2 runs, 2 free blocks in 1", f, err)
	}
}

func TestHeights(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		layers := make([]layer, 1+r.IntN(int(paints)))
		total := uint64(0)
		for i := range layers {
			layers[i].blocks = 1 + r.Uint64N(1<<r.IntN(40))
			total += layers[i].blocks
		}
		sum := 0
		for i, h := range heights(layers, cellHeight) {
			exact := float64(layers[i].blocks) / float64(total) * cellHeight
			if h < 1 || float64(h) > exact+1 {
				t.Fatalf("got %d steps, want about %.2f, in %v", h, exact, layers)
			}
			sum += h
		}
		if sum != cellHeight {
			t.Fatalf("got %d steps, want %d", sum, cellHeight)
		}
	}
}

func TestGridIsRoundAndBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 10_000 {
		blocks, columns, rows := 1+r.Uint64N(1<<(1+r.IntN(50))), 1+r.Uint64N(300), 1+r.Uint64N(100)
		g := layout(blocks, columns, rows)
		if g.columns > columns || g.rows > rows || g.per&(g.per-1) != 0 || g.columns*2 <= columns ||
			g.per*g.columns*g.rows < blocks || g.per*g.columns*(g.rows-1) >= blocks {
			t.Fatalf("%d blocks in at most %dx%d cells: got %+v", blocks, columns, rows, g)
		}
	}
}

func TestAddressIsExact(t *testing.T) {
	for b, want := range map[units.Bytes]string{
		0: "0", 64 * units.KiB: "64K", 1536 * units.MiB: "1.50G", 1152 * units.MiB: "1152M", 512 * units.GiB: "512G",
	} {
		if got := address(b); got != want {
			t.Errorf("address(%d): got %s, want %s", b, got, want)
		}
	}
}

// FuzzSpans draws spans of any order and size. They are rejected, or each block is drawn
// once.
func FuzzSpans(f *testing.F) {
	f.Add(uint16(10), []byte{0, 4, 0, 0, 4, 6, 1, 0})
	f.Add(uint16(10), []byte{0, 4, 2, 0, 3, 7, 1, 1})
	f.Add(uint16(300), []byte{0, 255, 1, 1, 255, 45, 2, 0})
	f.Fuzz(func(t *testing.T, blocks uint16, raw []byte) {
		m := Map{BlockSize: 64 * units.KiB, Blocks: uint64(blocks) + 1, Owners: []string{"a", "<b>"}}
		var spans []Span
		next, valid := uint64(0), true
		for ; len(raw) >= 4; raw = raw[4:] {
			s := Span{
				Begin: next + uint64(int8(raw[0])), Blocks: uint64(int8(raw[1])),
				Kind: Kind(raw[2] % 4), Owner: int(int8(raw[3])),
			}
			valid = valid && s.Begin == next && s.Blocks > 0 && s.Blocks <= m.Blocks-next && s.Kind <= Shared &&
				(s.Kind != Exclusive || s.Owner == 0 || s.Owner == 1)
			next += s.Blocks
			spans = append(spans, s)
		}
		valid = valid && next == m.Blocks
		m.Spans = spansOf(spans...)
		used := uint64(0)
		for _, s := range spans {
			if s.Kind != Free {
				used += s.Blocks
			}
		}
		cells, err := plainCells(m)
		if valid != (err == nil) || err != nil && !errors.Is(err, ErrSpans) {
			t.Fatalf("Terminal with spans %+v, valid %v: got %v", spans, valid, err)
		}
		if g := layout(m.Blocks, 64, terminalHeight); valid && cells != g.cells(m.Blocks) {
			t.Fatalf("%d blocks, %d per cell: got %d cells, want %d", m.Blocks, g.per, cells, g.cells(m.Blocks))
		}
		drawn, err := svgBlocks(m)
		if errors.Is(err, errAggregated) {
			return
		}
		if valid != (err == nil) || err != nil && !errors.Is(err, ErrSpans) || valid && drawn != used {
			t.Fatalf("SVG with spans %+v, valid %v: got %d blocks, %v, want %d", spans, valid, drawn, err, used)
		}
	})
}

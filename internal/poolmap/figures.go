package poolmap

import (
	"cmp"
	"fmt"
	"slices"
)

// named is how many volumes are drawn as themselves: as many colours as stay
// apart for all eyes (see palette.go).
const named = 8

// figures are the sums of a map, as its legend gives them.
type figures struct {
	free, shared, exclusive tally
	longestFree             Span
	ranked                  []ranked // volumes with exclusive blocks, most first
	rank                    []int    // of every owner, -1 for one without exclusive blocks
}

type tally struct{ blocks, runs uint64 }

func (t *tally) add(blocks uint64) { t.blocks += blocks; t.runs++ }

type ranked struct {
	owner int
	tally
}

func (m Map) figures() (figures, error) {
	var f figures
	owned := make([]tally, len(m.Owners))
	err := m.runs(func(run Span) error {
		switch run.Kind {
		case Free:
			f.free.add(run.Blocks)
			if run.Blocks > f.longestFree.Blocks {
				f.longestFree = run
			}
		case Shared:
			f.shared.add(run.Blocks)
		case Exclusive:
			f.exclusive.add(run.Blocks)
			owned[run.Owner].add(run.Blocks)
		}
		return nil
	})
	if err != nil {
		return figures{}, err
	}
	f.rank = make([]int, len(owned))
	for owner, t := range owned {
		f.rank[owner] = -1
		if t.blocks > 0 {
			f.ranked = append(f.ranked, ranked{owner, t})
		}
	}
	slices.SortStableFunc(f.ranked, func(a, b ranked) int { return cmp.Compare(b.blocks, a.blocks) })
	for rank, r := range f.ranked {
		f.rank[r.owner] = rank
	}
	return f, nil
}

func (f figures) used() uint64 { return f.shared.blocks + f.exclusive.blocks }

// entry is a line of the legend.
type entry struct {
	name   string
	paints []paint
	tally
}

// legend lists shared and free blocks, then the volumes: the first ones by
// name, the rest in one line.
func (m Map) legend(f figures, listed int) []entry {
	entries := []entry{
		{"shared by two or more", []paint{sharedPaint}, f.shared},
		{"free", []paint{freePaint}, f.free},
	}
	rest := entry{}
	for rank, r := range f.ranked {
		if rank < listed {
			entries = append(entries, entry{clean(m.Owners[r.owner]), []paint{paintOf(rank)}, r.tally})
			continue
		}
		rest.blocks += r.blocks
		rest.runs += r.runs
	}
	if others := len(f.ranked) - listed; others > 0 {
		rest.name = counted(uint64(others), "other volume")
		for i := range otherGreys {
			rest.paints = append(rest.paints, greyPaint+paint(i))
		}
		entries = append(entries, rest)
	}
	return entries
}

// facts are what the legend says below its lines.
func (m Map) facts(f figures) []string {
	var facts []string
	if f.free.blocks > 0 {
		facts = append(facts, fmt.Sprintf("Longest free run: %s at %s.", m.size(f.longestFree.Blocks), m.at(f.longestFree.Begin)))
	}
	if f.used() > 0 {
		facts = append(facts, fmt.Sprintf("Used blocks lie in %s, %s each on average.", counted(f.shared.runs+f.exclusive.runs, "run"),
			m.size(f.used()/(f.shared.runs+f.exclusive.runs))))
	}
	if len(f.ranked) > 0 {
		facts = append(facts, "A volume's figures are of the blocks that it alone maps.")
	}
	if without := len(m.Owners) - len(f.ranked); without > 0 {
		facts = append(facts, counted(uint64(without), "volume")+" without an exclusive block.")
	}
	return facts
}

// summary is the device, and what it holds.
func (m Map) summary(f figures) [2]string {
	return [2]string{
		fmt.Sprintf("%s in %s of %s", m.size(m.Blocks), counted(m.Blocks, "block"), address(m.BlockSize)),
		fmt.Sprintf("%s exclusive, %s shared, %s free (%s)", m.size(f.exclusive.blocks), m.size(f.shared.blocks),
			m.size(f.free.blocks), percent(f.free.blocks, m.Blocks)),
	}
}

// steps says what a cell and a row stand for.
func (m Map) steps(g grid) string {
	return fmt.Sprintf("One cell is %s (%s), a row %s.", address(m.size(g.per)), counted(g.per, "block"), address(m.size(g.per*g.columns)))
}

// at is the address of a block, in the units of people and exactly.
func (m Map) at(block uint64) string {
	b := m.size(block)
	if s := address(b); len(s) <= 8 {
		return s
	}
	return fmt.Sprintf("%s (byte %d)", b, uint64(b))
}

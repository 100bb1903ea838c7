package poolmap

import (
	"cmp"
	"fmt"
	"slices"
)

// named is the number of volumes with their own colour. Readers with a colour vision
// deficiency cannot distinguish more colours (see palette.go).
const named = 8

// figures holds the sums of a map for its legend.
type figures struct {
	free, shared, exclusive sum
	longestFree             Span
	ranked                  []ranked // volumes with exclusive blocks, sorted by their number, largest first
	rank                    []int    // by owner; -1 for an owner without exclusive blocks
}

type sum struct{ blocks, runs uint64 }

func (s *sum) add(blocks uint64) { s.blocks += blocks; s.runs++ }

type ranked struct {
	owner int
	sum
}

func (m Map) figures() (figures, error) {
	var f figures
	owned := make([]sum, len(m.Owners))
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
	sum
}

// legend lists shared and free blocks, then the first volumes by name, and the others in
// one line.
func (m Map) legend(f figures, listed int) []entry {
	entries := []entry{
		{"shared by two or more", []paint{sharedPaint}, f.shared},
		{"free", []paint{freePaint}, f.free},
	}
	rest := entry{}
	for rank, r := range f.ranked {
		if rank < listed {
			entries = append(entries, entry{clean(m.Owners[r.owner]), []paint{paintOf(rank)}, r.sum})
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

// remarks returns the sentences below the legend.
func (m Map) remarks(f figures) []string {
	var remarks []string
	if f.free.blocks > 0 {
		remarks = append(remarks,
			fmt.Sprintf("Longest free run: %s at %s.", m.size(f.longestFree.Blocks), m.at(f.longestFree.Begin)))
	}
	if runs := f.shared.runs + f.exclusive.runs; f.used() > 0 {
		remarks = append(remarks,
			fmt.Sprintf("Used blocks: %s, %s each on average.", counted(runs, "run"), m.size(f.used()/runs)))
	}
	if len(f.ranked) > 0 {
		remarks = append(remarks, "The sizes of volumes include only blocks that no other volume maps.")
	}
	if without := len(m.Owners) - len(f.ranked); without > 0 {
		remarks = append(remarks, counted(uint64(without), "volume")+" without an exclusive block.")
	}
	return remarks
}

// summary returns the size of the device, and the sums by kind.
func (m Map) summary(f figures) [2]string {
	return [2]string{
		fmt.Sprintf("%s in %s of %s", m.size(m.Blocks), counted(m.Blocks, "block"), address(m.BlockSize)),
		fmt.Sprintf("%s exclusive, %s shared, %s free (%s)", m.size(f.exclusive.blocks), m.size(f.shared.blocks),
			m.size(f.free.blocks), percent(f.free.blocks, m.Blocks)),
	}
}

// scaleText returns the sizes of a cell and of a row.
func (m Map) scaleText(g grid) string {
	return fmt.Sprintf("One cell is %s (%s), a row %s.",
		address(m.size(g.per)), counted(g.per, "block"), address(m.size(g.per*g.columns)))
}

// at returns the address of a block, rounded and in bytes if it is not short.
func (m Map) at(block uint64) string {
	b := m.size(block)
	if s := address(b); len(s) <= 8 {
		return s
	}
	return fmt.Sprintf("%s (byte %d)", b, uint64(b))
}

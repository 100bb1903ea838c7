package metadata

import (
	"fmt"
	"slices"
)

// Severity is how bad a finding is, worst last.
type Severity uint8

// What a finding means for the pool.
const (
	Notice Severity = iota // sound; worth knowing
	Leak                   // space that nobody gets back; no data is at risk
	Damage                 // data is lost, or will be by what the kernel writes next
)

func (s Severity) String() string { return [...]string{"notice", "leak", "damage"}[s] }

// Finding is one thing that is wrong, or many of a kind.
type Finding struct {
	Code     Code
	Severity Severity
	Block    uint64   // the metadata block, or the first of the data blocks for the data-… codes
	Count    uint64   // how many there are of the kind; those beyond the first few are only counted
	Devices  []uint32 // the thin devices that it touches, where that is known
	Text     string
	// Repairable: Repair mends it. Lost is how many mappings go with it, at most.
	Repairable bool
	Lost       uint64
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s: %s", f.Severity, f.Code, f.Text) }

// Report is what Check found.
type Report struct {
	Superblock Superblock
	// Findings, the worst first. Empty: sound.
	Findings []Finding
	// Usage is who takes what, where no damage hides it.
	Usage *Usage
	// Complete: all of the metadata could be looked at.
	Complete bool
}

// Worst is the worst severity found; ok is false where nothing was.
func (r Report) Worst() (worst Severity, ok bool) {
	for _, f := range r.Findings {
		worst, ok = max(worst, f.Severity), true
	}
	return worst, ok
}

// told is how many findings of one code are told one by one.
const told = 16

type findings struct {
	list  []Finding
	count map[Code]int
	rest  map[Code]int // index in list of that which counts the rest
}

func (f *findings) add(one Finding) {
	if f.count == nil {
		f.count, f.rest = map[Code]int{}, map[Code]int{}
	}
	one.Count = max(one.Count, 1)
	f.count[one.Code]++
	if f.count[one.Code] <= told {
		f.list = append(f.list, one)
		return
	}
	i, ok := f.rest[one.Code]
	if !ok {
		i = len(f.list)
		f.rest[one.Code] = i
		f.list = append(f.list, Finding{Code: one.Code, Block: one.Block, Repairable: one.Repairable})
	}
	r := &f.list[i]
	r.Severity, r.Count, r.Lost = max(r.Severity, one.Severity), r.Count+one.Count, r.Lost+one.Lost
	r.Repairable = r.Repairable && one.Repairable
	r.Text = fmt.Sprintf("%d more of the kind", f.count[one.Code]-told)
}

func (f *findings) sorted() []Finding {
	slices.SortStableFunc(f.list, func(a, b Finding) int { return int(b.Severity) - int(a.Severity) })
	return f.list
}

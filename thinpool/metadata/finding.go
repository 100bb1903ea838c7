package metadata

import (
	"fmt"
	"slices"
)

// Severity is the severity of a finding. The most severe value is the highest.
type Severity uint8

// The severities.
const (
	Notice Severity = iota // nothing is damaged
	Leak                   // space is lost; no data is at risk
	Damage                 // data is lost, or the kernel's next writes will lose it
)

func (s Severity) String() string { return [...]string{"notice", "leak", "damage"}[s] }

// Finding is one defect of the metadata, or several of one kind.
type Finding struct {
	Code     Code
	Severity Severity
	Block    uint64   // the metadata block, or the first data block if the code begins with data-
	Count    uint64   // the number of defects of this kind; beyond the first few there is only a count
	Devices  []uint32 // the affected thin devices, if known
	Text     string
	// Repairable is true if Repair fixes the defect. Lost is the number of mappings
	// that the repair loses at most.
	Repairable bool
	Lost       uint64
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s: %s", f.Severity, f.Code, f.Text) }

// Report is the result of Check.
type Report struct {
	Superblock Superblock
	// Findings begins with the most severe. It is empty if the metadata is sound.
	Findings []Finding
	// Usage is the space that each device takes. It is nil if damage hides some of it.
	Usage *Usage
	// Complete is true if all of the metadata could be read.
	Complete bool
}

// Worst returns the highest severity; ok is false if there are no findings.
func (r Report) Worst() (worst Severity, ok bool) {
	for _, f := range r.Findings {
		worst, ok = max(worst, f.Severity), true
	}
	return worst, ok
}

// maxPerCode is the number of findings of one code that are listed one by one.
const maxPerCode = 16

type findings struct {
	list  []Finding
	count map[Code]int
	rest  map[Code]int // index in list of the finding that counts the others
}

func (f *findings) add(one Finding) {
	if f.count == nil {
		f.count, f.rest = map[Code]int{}, map[Code]int{}
	}
	one.Count = max(one.Count, 1)
	f.count[one.Code]++
	if f.count[one.Code] <= maxPerCode {
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
	r.Text = fmt.Sprintf("%d more of this kind", f.count[one.Code]-maxPerCode)
}

func (f *findings) sorted() []Finding {
	slices.SortStableFunc(f.list, func(a, b Finding) int { return int(b.Severity) - int(a.Severity) })
	return f.list
}

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

// Code names a kind of finding and stays the same from release to release.
type Code string

// What Check can find.
const (
	CodeSuperblock    Code = "superblock"          // not readable as one, or what it says cannot be
	CodeNeedsCheck    Code = "needs-check"         // the kernel met a failure and waits for a check
	CodeHeldRoot      Code = "held-root"           // the metadata snapshot's superblock is bad
	CodeTime          Code = "time-runs-out"       // 24 bits of snapshots are nearly used up
	CodeUnreadable    Code = "block-unreadable"    // the device gives an error, or ends
	CodeNodeChecksum  Code = "node-checksum"       // a btree node is not as it was written
	CodeNode          Code = "node"                // a sealed node that makes no sense
	CodePointer       Code = "pointer"             // a pointer at no block, or at another tree's
	CodeKeys          Code = "keys"                // keys outside what the parent allows
	CodeBalance       Code = "balance"             // leaves unequally deep
	CodeUnderfull     Code = "underfull"           // a node less than a third full
	CodeCircle        Code = "circle"              // pointers that come back
	CodeDeviceID      Code = "device-id"           // over 24 bits
	CodeTimeAhead     Code = "time-ahead"          // a time that the pool has not come to
	CodeDevice        Code = "device"              // part of its mappings cannot be reached
	CodeNoDetails     Code = "no-details"          // mappings without details: the device cannot be opened
	CodeNoMappings    Code = "no-mappings"         // details without mappings
	CodeMappedCount   Code = "mapped-count"        // details that count other mappings than there are
	CodeBeyondData    Code = "beyond-data"         // a mapping to where there is no data block
	CodeBitmap        Code = "bitmap"              // a space map's bitmap or index is not readable
	CodeIndex         Code = "index"               // an index entry that miscounts its bitmap
	CodeAllocated     Code = "allocated"           // a space map's total is wrong
	CodeOverflow      Code = "overflow"            // a count over 2 without its record, or a record of none
	CodeMetadataLeak  Code = "metadata-leak"       // metadata blocks counted higher than they are used
	CodeMetadataCount Code = "metadata-undercount" // metadata blocks in use that count as free or less used
	CodeDataLeak      Code = "data-leak"           // data blocks counted higher than they are mapped
	CodeDataCount     Code = "data-undercount"     // data blocks mapped that count as free or less mapped
	CodeNotCounted    Code = "not-counted"         // damage hides what leaks there are
	CodeTruncated     Code = "truncated"           // the device is smaller than its space map
)

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

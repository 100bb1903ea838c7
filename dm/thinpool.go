package dm

import (
	"fmt"
	"strconv"
	"strings"

	"thinctl/blockdev"
	"thinctl/units"
)

// The types of targets.
const (
	TypeThinPool = "thin-pool"
	TypeThin     = "thin"
	TypeLinear   = "linear"
	TypeError    = "error"
	TypeFlakey   = "flakey"
)

// The limits of a pool's data block size and of thin ids (drivers/md/dm-thin.c and
// dm-thin-metadata.h).
const (
	MinBlock  = 64 * units.KiB
	MaxBlock  = units.GiB
	MaxThinID = 1<<24 - 1
)

// MaxMetadata is the part of a metadata device that a thin-pool target uses: 255
// bitmaps of 16320 blocks of 4 KiB. Kernels leave the rest of a larger device unused,
// with a warning from 16 GiB on (THIN_METADATA_MAX_SECTORS_WARNING). Old kernels use
// one bitmap less.
const MaxMetadata = 255 * 16320 * 4 * units.KiB

// ThinPool is the thin-pool target, the table of a pool. The zero value of each
// feature is the kernel's default.
type ThinPool struct {
	Length            units.Sectors // the data size that the pool may use
	Metadata          blockdev.Number
	Data              blockdev.Number
	Block             units.Sectors // data block size
	LowWater          uint64        // free data blocks that raise an event
	SkipBlockZeroing  bool
	IgnoreDiscard     bool
	NoDiscardPassdown bool
	ReadOnly          bool
	ErrorIfNoSpace    bool // needs target 1.10; without it, writes wait for space
}

// Line implements [Target]. The features are in the order in which the kernel
// prints them, so that a loaded table and a printed one are equal.
func (t ThinPool) Line() Line {
	var features []string
	for _, f := range []struct {
		set  bool
		name string
	}{
		{t.SkipBlockZeroing, "skip_block_zeroing"},
		{t.IgnoreDiscard, "ignore_discard"},
		{t.NoDiscardPassdown, "no_discard_passdown"},
		{t.ReadOnly, "read_only"},
		{t.ErrorIfNoSpace, "error_if_no_space"},
	} {
		if f.set {
			features = append(features, f.name)
		}
	}
	params := fmt.Sprintf("%s %s %d %d %d", t.Metadata, t.Data, t.Block, t.LowWater, len(features))
	if len(features) > 0 {
		params += " " + strings.Join(features, " ")
	}
	return Line{Length: t.Length, Type: TypeThinPool, Params: params}
}

// ParseThinPool parses a pool's table line.
func ParseThinPool(line Line) (ThinPool, error) {
	p := newTokens(line, TypeThinPool)
	t := ThinPool{Length: line.Length}
	t.Metadata = p.dev("metadata device")
	t.Data = p.dev("data device")
	t.Block = units.Sectors(p.number("block size"))
	t.LowWater = p.number("low water mark")
	if p.more() {
		for n := p.number("feature count"); n > 0 && p.err == nil; n-- {
			switch f := p.next("feature"); f {
			case "skip_block_zeroing":
				t.SkipBlockZeroing = true
			case "ignore_discard":
				t.IgnoreDiscard = true
			case "no_discard_passdown":
				t.NoDiscardPassdown = true
			case "read_only":
				t.ReadOnly = true
			case "error_if_no_space":
				t.ErrorIfNoSpace = true
			default:
				p.fail("unknown feature %q", f)
			}
		}
	}
	return t, p.end()
}

// Mode is a pool's mode (drivers/md/dm-thin.c, enum pool_mode).
type Mode int

// The modes, from best to worst.
const (
	ModeWrite          Mode = iota // the pool accepts reads, writes and messages
	ModeOutOfDataSpace             // writes to new blocks wait or fail; messages work
	ModeReadOnly                   // the pool accepts no change; also if it is out of metadata space
	ModeFail                       // all IO fails; only an offline repair ends this mode
)

var modeNames = [...]string{"rw", "out_of_data_space", "ro", "fail"}

func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode %d", int(m))
}

// Discard is a pool's handling of the discards that its volumes get.
type Discard int

// The ways to handle discards. The kernel switches from passdown to no passdown if
// the data device does not support discards.
const (
	DiscardPassdown Discard = iota
	DiscardNoPassdown
	DiscardIgnored
)

func (d Discard) String() string {
	return [...]string{"discard_passdown", "no_discard_passdown", "ignore_discard"}[d]
}

// PoolStatus holds a pool's status. In [ModeFail] only Mode is valid.
type PoolStatus struct {
	TransactionID  uint64
	UsedMetadata   uint64 // blocks of 4 KiB
	TotalMetadata  uint64
	UsedData       uint64 // data blocks
	TotalData      uint64
	HeldRoot       uint64 // root block of the metadata snapshot, 0 for none
	Mode           Mode
	Discard        Discard
	ErrorIfNoSpace bool   // false before target 1.10, whose writes always wait for space
	NeedsCheck     bool   // not reported before target 1.15
	MetadataLow    uint64 // metadata low-water mark in blocks; zero before target 1.19
}

// FreeData returns the number of free data blocks.
func (s PoolStatus) FreeData() uint64 { return s.TotalData - min(s.UsedData, s.TotalData) }

// FreeMetadata returns the number of free metadata blocks.
func (s PoolStatus) FreeMetadata() uint64 {
	return s.TotalMetadata - min(s.UsedMetadata, s.TotalMetadata)
}

// ParsePoolStatus parses a pool's status. Older targets print fewer tokens: 6 before
// 1.10, 7 from 1.10 on, 8 with needs_check (1.15), 9 with the metadata mark (1.19).
func ParsePoolStatus(line Line) (PoolStatus, error) {
	p := newTokens(line, TypeThinPool)
	if line.Params == "Fail" || line.Params == "Error" {
		return PoolStatus{Mode: ModeFail}, p.err
	}
	var s PoolStatus
	s.TransactionID = p.number("transaction id")
	s.UsedMetadata, s.TotalMetadata = p.fraction("metadata blocks")
	s.UsedData, s.TotalData = p.fraction("data blocks")
	if held := p.next("held root"); held != "-" {
		s.HeldRoot = p.parse("held root", held)
	}
	switch mode := p.next("mode"); mode {
	case "rw":
	case "out_of_data_space":
		s.Mode = ModeOutOfDataSpace
	case "ro":
		s.Mode = ModeReadOnly
	default:
		p.fail("unknown mode %q", mode)
	}
	switch discard := p.next("discard"); discard {
	case "discard_passdown":
	case "no_discard_passdown":
		s.Discard = DiscardNoPassdown
	case "ignore_discard":
		s.Discard = DiscardIgnored
	default:
		p.fail("unknown discard handling %q", discard)
	}
	if p.more() {
		switch full := p.next("full policy"); full {
		case "queue_if_no_space":
		case "error_if_no_space":
			s.ErrorIfNoSpace = true
		default:
			p.fail("unknown full policy %q", full)
		}
	}
	if p.more() {
		switch check := p.next("needs_check"); check {
		case "-":
		case "needs_check":
			s.NeedsCheck = true
		default:
			p.fail("unknown check state %q", check)
		}
	}
	if p.more() {
		s.MetadataLow = p.number("metadata low water mark")
	}
	return s, p.end()
}

// Line returns s as a target from 1.19 on prints it.
func (s PoolStatus) Line(length units.Sectors) Line {
	if s.Mode == ModeFail {
		return Line{Length: length, Type: TypeThinPool, Params: "Fail"}
	}
	held, full, check := "-", "queue_if_no_space", "-"
	if s.HeldRoot != 0 {
		held = strconv.FormatUint(s.HeldRoot, 10)
	}
	if s.ErrorIfNoSpace {
		full = "error_if_no_space"
	}
	if s.NeedsCheck {
		check = "needs_check"
	}
	return Line{Length: length, Type: TypeThinPool, Params: fmt.Sprintf("%d %d/%d %d/%d %s %s %s %s %s %d",
		s.TransactionID, s.UsedMetadata, s.TotalMetadata, s.UsedData, s.TotalData,
		held, s.Mode, s.Discard, full, check, s.MetadataLow)}
}

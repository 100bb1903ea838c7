package poolmap

import (
	"errors"
	"fmt"
	"math"

	"thinctl/units"
)

// Kind is the number of volumes that map a block: none, one, or several.
type Kind uint8

// Kinds of blocks.
const (
	Free Kind = iota
	Exclusive
	Shared
)

func (k Kind) String() string {
	switch k {
	case Free:
		return "free"
	case Exclusive:
		return "exclusive"
	case Shared:
		return "shared"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Span is a range of data blocks of one kind.
type Span struct {
	Begin, Blocks uint64
	Kind          Kind
	Owner         int // index into Map.Owners, only for Exclusive
}

// Map describes a data device.
type Map struct {
	BlockSize units.Bytes
	Blocks    uint64   // of the data device
	Owners    []string // the names of the volumes
	// Spans passes spans to visit, in order, such that each block of the device is in
	// exactly one. It returns visit's error. A drawing calls it twice, and the spans must be
	// the same both times.
	Spans func(visit func(Span) error) error
}

// ErrSpans is the error for spans that are out of order, overlap, have a gap, are beyond
// the end of the device, or have an unknown owner.
var ErrSpans = errors.New("the spans do not cover the data device")

func (m Map) validate() error {
	switch {
	case m.BlockSize == 0 || m.Blocks == 0:
		return fmt.Errorf("draw a data device of %d blocks of %d bytes: it is empty", m.Blocks, uint64(m.BlockSize))
	case m.Blocks > math.MaxInt64/uint64(m.BlockSize):
		return fmt.Errorf("draw a data device of %d blocks of %s: it is larger than 2^63 bytes", m.Blocks, m.BlockSize)
	}
	return nil
}

func (m Map) size(blocks uint64) units.Bytes { return units.Bytes(blocks) * m.BlockSize }

// runs visits the runs, in order.
func (m Map) runs(visit func(Span) error) error {
	var run Span
	next := uint64(0)
	err := m.Spans(func(s Span) error {
		if err := m.follows(s, next); err != nil {
			return err
		}
		next += s.Blocks
		if s.Kind != Exclusive {
			s.Owner = 0
		}
		if run.Blocks > 0 && run.Kind == s.Kind && run.Owner == s.Owner {
			run.Blocks += s.Blocks
			return nil
		}
		done := run
		run = s
		if done.Blocks == 0 {
			return nil
		}
		return visit(done)
	})
	if err != nil {
		return err
	}
	if next != m.Blocks {
		return fmt.Errorf("%w: they end at block %d of %d", ErrSpans, next, m.Blocks)
	}
	return visit(run)
}

// follows returns an error unless s is a valid span that begins at block next.
func (m Map) follows(s Span, next uint64) error {
	fault := ""
	switch {
	case s.Blocks == 0:
		fault = "it is empty"
	case s.Begin < next:
		fault = fmt.Sprintf("block %d is in an earlier span, too", s.Begin)
	case s.Begin > next:
		fault = fmt.Sprintf("block %d is in no span", next)
	case s.Blocks > m.Blocks-s.Begin:
		fault = fmt.Sprintf("the device has %d blocks", m.Blocks)
	case s.Kind > Shared:
		fault = "no such kind"
	case s.Kind == Exclusive && (s.Owner < 0 || s.Owner >= len(m.Owners)):
		fault = fmt.Sprintf("owner %d of %d", s.Owner, len(m.Owners))
	default:
		return nil
	}
	return fmt.Errorf("%w: %s span of %d blocks at %d: %s", ErrSpans, s.Kind, s.Blocks, s.Begin, fault)
}

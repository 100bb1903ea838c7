package poolmap

import (
	"errors"
	"fmt"
	"math"

	"thinctl/units"
)

// Kind says how many volumes map a block: none, one, or several.
type Kind uint8

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

// Span is a stretch of data blocks of one kind.
type Span struct {
	Begin, Blocks uint64
	Kind          Kind
	Owner         int // index into Map.Owners; of Exclusive only
}

// Map is a data device to draw.
type Map struct {
	BlockSize units.Bytes
	Blocks    uint64   // of the data device
	Owners    []string // names of the volumes, for people
	// Spans gives every block of the device in one span, in order, and returns
	// visit's error. A drawing calls it twice and needs the same spans again.
	Spans func(visit func(Span) error) error
}

// ErrSpans is returned where the spans are not a layout of the device: out of
// order, overlapping, with a gap, beyond its end, or of an unknown owner.
var ErrSpans = errors.New("the spans do not lay out the data device")

func (m Map) validate() error {
	switch {
	case m.BlockSize == 0 || m.Blocks == 0:
		return fmt.Errorf("a data device of %d blocks of %d bytes cannot be drawn", m.Blocks, uint64(m.BlockSize))
	case m.Blocks > math.MaxInt64/uint64(m.BlockSize):
		return fmt.Errorf("a data device of %d blocks of %s is larger than 2^63 bytes", m.Blocks, m.BlockSize)
	}
	return nil
}

func (m Map) size(blocks uint64) units.Bytes { return units.Bytes(blocks) * m.BlockSize }

// runs visits the longest runs that the spans make, in order.
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

// follows reports whether s is a sound span that begins at block next.
func (m Map) follows(s Span, next uint64) error {
	fault := ""
	switch {
	case s.Blocks == 0:
		fault = "it is empty"
	case s.Begin < next:
		fault = fmt.Sprintf("block %d was given before", s.Begin)
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

package metadata

import (
	"context"
	"math"
)

// SpanKind is the owner class of a span of data blocks.
type SpanKind uint8

// The owner classes.
const (
	Free      SpanKind = iota // mapped by no device
	Exclusive                 // mapped by exactly one
	Shared                    // mapped by several
)

func (k SpanKind) String() string {
	return [...]string{"free", "exclusive", "shared"}[k]
}

// Span is a run of data blocks with the same kind and owner.
type Span struct {
	Begin, Blocks uint64
	Kind          SpanKind
	Device        uint32 // the owner, if Kind is Exclusive
}

// Layout calls visit with the spans of the data device, in order and without gaps. The last
// span ends at the end of the device, or at the last mapped block if the size is not known.
func (m *Map) Layout(ctx context.Context, visit func(Span) error) error {
	owners := m.soleOwners()
	last := Span{}
	put := func(begin uint64, kind SpanKind, device uint32) error {
		if begin > last.Begin && (kind != last.Kind || device != last.Device) {
			last.Blocks = begin - last.Begin
			if err := visit(last); err != nil {
				return err
			}
		}
		if begin == 0 || begin > last.Begin && (kind != last.Kind || device != last.Device) {
			last = Span{Begin: begin, Kind: kind, Device: device}
		}
		return nil
	}
	next := uint64(0)
	err := m.passes(ctx, false, func(c *dataRefs) error {
		return c.eachRegion(func(number uint64, r *region) error {
			if number*regionBlocks > next {
				if err := put(next, Free, 0); err != nil {
					return err
				}
			}
			next = number * regionBlocks
			for i, ref := range r {
				kind, device := Free, uint32(0)
				switch {
				case ref == 0:
				case ref&countFlag != 0 || owners[ref] == manyOwners:
					kind = Shared
				default:
					kind, device = Exclusive, m.roots[owners[ref]-1].id
				}
				if err := put(next+uint64(i), kind, device); err != nil {
					return err
				}
			}
			next += regionBlocks
			return ctx.Err()
		})
	})
	if err != nil {
		return err
	}
	end := m.options.DataBlocks
	if end > maxDataBlock { // not known: the last mapped block
		if last.Kind == Free {
			return nil
		}
		end = next
	} else if end > next {
		if err := put(next, Free, 0); err != nil {
			return err
		}
	}
	if last.Blocks = end - last.Begin; last.Begin >= end {
		return nil
	}
	return visit(last)
}

const manyOwners = math.MaxUint32

// soleOwners returns for each vertex the one device that reaches it, as an index into roots
// plus 1, or manyOwners.
func (m *Map) soleOwners() []uint32 {
	owners := make([]uint32, len(m.graph.vertices))
	own := func(number, owner uint32) {
		if owners[number] != 0 && owners[number] != owner {
			owner = manyOwners
		}
		owners[number] = owner
	}
	for i, r := range m.roots {
		own(r.root, uint32(i+1))
	}
	for _, number := range m.order {
		if v := &m.graph.vertices[number]; v.tree == mappingTree {
			for _, child := range m.graph.children(v) {
				own(child, owners[number])
			}
		}
	}
	return owners
}

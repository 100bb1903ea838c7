package metadata

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
)

// Freed returns how many data blocks come back when all the devices of ids go:
// those that one of them maps and no other device does. It reads the leaves
// that only these devices have.
func (m *Map) Freed(ctx context.Context, ids ...uint32) (uint64, error) {
	inside, err := m.inside(ids)
	if err != nil {
		return 0, err
	}
	leaves, blocks := m.leaves(func(n uint32, _ *vertex) bool { return inside[n] })
	var freed atomic.Uint64
	err = m.passes(ctx, false, func(c *claims) error {
		hits := newClaims(c.window, m.options.regions(), &m.spares)
		defer hits.drop()
		return m.graph.fetch.each(ctx, blocks, func(_, i int, b []byte, err error) error {
			n, err := m.reread(leaves[i], b, err)
			if err == nil {
				freed.Add(c.last(hits, leaves[i], n))
			}
			return err
		})
	})
	if err != nil {
		return 0, fmt.Errorf("reading what %d devices have: %w", len(ids), err)
	}
	return freed.Load(), nil
}

// inside marks the vertices that only these devices reach.
func (m *Map) inside(ids []uint32) ([]bool, error) {
	pointers := make([]uint32, len(m.graph.vertices)) // that come from inside
	seen := map[uint32]bool{}
	for _, id := range ids {
		root, err := m.root(id)
		if err != nil {
			return nil, err
		}
		if !seen[id] {
			pointers[root]++
			seen[id] = true
		}
	}
	inside := make([]bool, len(m.graph.vertices))
	for _, number := range m.order {
		v := &m.graph.vertices[number]
		if v.tree != mappingTree || pointers[number] != v.refs {
			continue
		}
		inside[number] = true
		for _, child := range m.graph.below(v) {
			pointers[child]++
		}
	}
	return inside, nil
}

// root returns the vertex under which a device's mappings are.
func (m *Map) root(id uint32) (uint32, error) {
	i, ok := slices.BinarySearchFunc(m.roots, id, func(r deviceRoot, id uint32) int { return int(int64(r.id) - int64(id)) })
	if !ok {
		return 0, fmt.Errorf("device %d: %w", id, ErrNoDevice)
	}
	return m.roots[i].root, nil
}

// last counts the data blocks of a leaf for which no claim is left once all in
// hits are gone.
func (c *claims) last(hits *claims, leaf uint32, n node) (count uint64) {
	for i := range n.entries {
		block := binary.LittleEndian.Uint64(n.value(i)) >> timeBits
		r := c.region(block)
		if r == nil {
			continue
		}
		claim := r[block%regionBlocks]
		if claim == leaf {
			count++
			continue
		}
		if h := hits.region(block); atomic.AddUint32(&h[block%regionBlocks], 1) == claim&^manyMark {
			count++
		}
	}
	return count
}

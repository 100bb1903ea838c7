package metadata

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
)

// Freed returns the number of data blocks that become free if all the devices of ids are
// deleted: the blocks that only these devices map. It reads the leaves that only these devices
// reach.
func (m *Map) Freed(ctx context.Context, ids ...uint32) (uint64, error) {
	inside, err := m.reachedOnlyBy(ids)
	if err != nil {
		return 0, err
	}
	leaves, blocks := m.leaves(func(n uint32, _ *vertex) bool { return inside[n] })
	var freed atomic.Uint64
	err = m.passes(ctx, false, func(c *dataRefs) error {
		hits := newDataRefs(c.window, m.options.regions(), &m.regions)
		defer hits.release()
		return m.graph.reader.each(ctx, blocks, func(_, i int, b []byte, err error) error {
			n, err := m.reread(leaves[i], b, err)
			if err == nil {
				freed.Add(c.countLast(hits, leaves[i], n))
			}
			return err
		})
	})
	if err != nil {
		return 0, fmt.Errorf("read mappings of %d devices: %w", len(ids), err)
	}
	return freed.Load(), nil
}

// reachedOnlyBy marks the vertices that only these devices reach.
func (m *Map) reachedOnlyBy(ids []uint32) ([]bool, error) {
	pointers := make([]uint32, len(m.graph.vertices)) // from vertices that are marked
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
		for _, child := range m.graph.children(v) {
			pointers[child]++
		}
	}
	return inside, nil
}

// root returns the vertex at the root of a device's mapping tree.
func (m *Map) root(id uint32) (uint32, error) {
	i, ok := slices.BinarySearchFunc(m.roots, id,
		func(r deviceRoot, id uint32) int { return int(int64(r.id) - int64(id)) })
	if !ok {
		return 0, fmt.Errorf("device %d: %w", id, ErrNoDevice)
	}
	return m.roots[i].root, nil
}

// countLast counts the data blocks of a leaf of which no reference remains without those in
// hits.
func (c *dataRefs) countLast(hits *dataRefs, leaf uint32, n node) (count uint64) {
	for i := range n.entries {
		block := binary.LittleEndian.Uint64(n.value(i)) >> timeBits
		r := c.region(block)
		if r == nil {
			continue
		}
		ref := r[block%regionBlocks]
		if ref == leaf {
			count++
			continue
		}
		if h := hits.region(block); atomic.AddUint32(&h[block%regionBlocks], 1) == ref&^countFlag {
			count++
		}
	}
	return count
}

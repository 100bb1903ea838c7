package metadata

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
)

// refCount is a record of a space map's btree of reference counts over 2.
type refCount struct {
	block uint64
	count uint32
}

// indexEntry describes a bitmap of a space map (struct disk_index_entry of
// dm-space-map-common.h).
type indexEntry struct {
	number         uint64
	block          uint64
	free           uint32
	noneFreeBefore uint32
}

func decodeIndexEntry(number uint64, b []byte) indexEntry {
	le := binary.LittleEndian
	return indexEntry{number, le.Uint64(b), le.Uint32(b[8:]), le.Uint32(b[12:])}
}

// maxKeptCounts is the number of reference counts that are kept in memory: 128 MiB.
const maxKeptCounts = 1 << 23

func refCountsOf(n node) []refCount {
	counts := make([]refCount, n.entries)
	for i := range counts {
		counts[i] = refCount{n.key(i), binary.LittleEndian.Uint32(n.value(i))}
	}
	return counts
}

// refCountsIn returns the reference counts in a leaf.
func (m *Map) refCountsIn(number uint32) ([]refCount, error) {
	if counts, kept := m.leafData[number].([]refCount); kept {
		return counts, nil
	}
	block, b := uint64(m.graph.vertices[number].block), newBlock()
	if err := readBlock(m.graph.reader.r, block, b); err != nil {
		return nil, err
	}
	n, err := m.reread(number, b, nil)
	if err != nil {
		return nil, err
	}
	return refCountsOf(n), nil
}

// decodeLeaf decodes a leaf of a tree other than mappings. Several trees have one kind: which
// of them the leaf belongs to is known only after all nodes are read.
func (m *Map) decodeLeaf(number uint32, v *vertex, n node) error {
	var said any
	switch v.tree {
	case topTree, detailsTree:
		devices := make([]Device, 0, n.entries)
		for i := range n.entries {
			if n.key(i) > MaxDeviceID {
				err := fmt.Errorf("in %s: %w", v.tree, corrupt(n.block, "device id %d is over %d", n.key(i), MaxDeviceID))
				if err := m.graph.onFault(CodeDeviceID, v, err); err != nil {
					return err
				}
				v.broken = true // its pointers do not belong to a device
				return nil
			}
			d := Device{ID: uint32(n.key(i))}
			if v.tree == detailsTree {
				d = decodeDevice(d.ID, n.value(i))
			}
			devices = append(devices, d)
		}
		said = devices
	case indexTree:
		entries := make([]indexEntry, n.entries)
		for i := range entries {
			entries[i] = decodeIndexEntry(n.key(i), n.value(i))
		}
		said = entries
	case refCountTree:
		if m.keptCounts.Add(int64(n.entries)) > maxKeptCounts {
			return nil // it is read again when needed
		}
		said = refCountsOf(n)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leafData[number] = said
	return nil
}

// collect returns the decoded content of the leaves under a root, ordered by key. It removes
// them from leafData, so a second call returns nothing.
func collect[T any](m *Map, root uint32) []T {
	var parts [][]T
	for number := range m.graph.leavesUnder(root) {
		part, _ := m.leafData[number].([]T)
		parts = append(parts, part)
		delete(m.leafData, number)
	}
	return slices.Concat(parts...)
}

// leavesUnder yields the leaves of one tree ordered by key, each once. It has its own stack
// because a damaged tree may be as deep as it is large.
func (g *graph) leavesUnder(root uint32) iter.Seq2[uint32, *vertex] {
	return func(yield func(uint32, *vertex) bool) {
		seen, next := make(map[uint32]bool), []uint32{root}
		for len(next) > 0 {
			number := next[len(next)-1]
			next = next[:len(next)-1]
			v := &g.vertices[number]
			if number == 0 || v.broken || seen[number] {
				continue
			}
			seen[number] = true
			if !v.leaf {
				for _, child := range slices.Backward(g.children(v)) {
					next = append(next, child)
				}
			} else if !yield(number, v) {
				return
			}
		}
	}
}

// listDevices sets the root and the details of each device.
func (m *Map) listDevices() {
	m.details = collect[Device](m, m.detailsRoot)
	for number, v := range m.graph.leavesUnder(m.top) {
		devices, _ := m.leafData[number].([]Device)
		for i, root := range m.graph.children(v) {
			m.roots = append(m.roots, deviceRoot{devices[i].ID, root, v.flawed})
		}
	}
}

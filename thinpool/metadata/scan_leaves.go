package metadata

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
)

// refCount is a record of a space map's reference counts over 2.
type refCount struct {
	block uint64
	count uint32
}

// indexEntry says where a space map's bitmap is and what is in it (struct
// disk_index_entry of dm-space-map-common.h).
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

// maxKept bounds the reference counts that are kept: 128 MiB.
const maxKept = 1 << 23

func countsOf(n node) []refCount {
	counts := make([]refCount, n.entries)
	for i := range counts {
		counts[i] = refCount{n.key(i), binary.LittleEndian.Uint32(n.value(i))}
	}
	return counts
}

// countsIn returns the reference counts in a leaf.
func (m *Map) countsIn(number uint32) ([]refCount, error) {
	if counts, kept := m.small[number].([]refCount); kept {
		return counts, nil
	}
	block, b := uint64(m.graph.vertices[number].block), newBlock()
	if err := readBlock(m.graph.fetch.r, block, b); err != nil {
		return nil, err
	}
	n, err := m.reread(number, b, nil)
	if err != nil {
		return nil, err
	}
	return countsOf(n), nil
}

// keep decodes a leaf of the smaller trees. To which of the trees of its kind
// it belongs is known only when all are read.
func (m *Map) keep(number uint32, v *vertex, n node) error {
	var said any
	switch v.tree {
	case topTree, detailsTree:
		devices := make([]Device, 0, n.entries)
		for i := range n.entries {
			if n.key(i) > MaxDeviceID {
				err := fmt.Errorf("in %s: %w", v.tree, corrupt(n.block, "device id %d is over %d", n.key(i), MaxDeviceID))
				if err := m.graph.fault(CodeDeviceID, v, err); err != nil {
					return err
				}
				v.broken = true // its pointers lead to no device
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
		if m.kept.Add(int64(n.entries)) > maxKept {
			return nil // read again when asked for
		}
		said = countsOf(n)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.small[number] = said
	return nil
}

// said lists what the leaves under a root say, in the order of their keys. It
// can be asked once.
func said[T any](m *Map, root uint32) []T {
	var parts [][]T
	for number := range m.graph.leavesUnder(root) {
		part, _ := m.small[number].([]T)
		parts = append(parts, part)
		delete(m.small, number)
	}
	return slices.Concat(parts...)
}

// leavesUnder yields the leaves of one tree in the order of their keys, each
// once. It keeps its own stack: a damaged tree may be as deep as it is large.
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
				for _, child := range slices.Backward(g.below(v)) {
					next = append(next, child)
				}
			} else if !yield(number, v) {
				return
			}
		}
	}
}

// listDevices finds each device's root and details.
func (m *Map) listDevices() {
	m.details = said[Device](m, m.detailsRoot)
	for number, v := range m.graph.leavesUnder(m.top) {
		devices, _ := m.small[number].([]Device)
		for i, root := range m.graph.below(v) {
			m.roots = append(m.roots, deviceRoot{devices[i].ID, root, v.flawed})
		}
	}
}

package metadata

import (
	"encoding/binary"
	"slices"
	"sync/atomic"

	"pgregory.net/rapid"
)

// modelNode is a node of a device's tree in memory. A change copies the nodes from the root to
// the changed leaf, as in the kernel, and shares the others. Nodes have few entries, so that
// small trees are high. The tools accept them, because the format has the capacity in each
// node.
type modelNode struct {
	keys     []uint64
	values   []uint64 // of a leaf
	children []*modelNode
	block    uint64 // 0: not written
}

const modelNodeMax, modelNodeMin = 6, 2

// change is an inserted or removed mapping.
type change struct {
	key, value uint64
	drop       bool
}

func (n *modelNode) leaf() bool { return n.children == nil }
func (n *modelNode) last() uint64 {
	for !n.leaf() {
		n = n.children[len(n.children)-1]
	}
	return n.keys[len(n.keys)-1]
}

func (n *modelNode) height() int {
	if n.leaf() {
		return 1
	}
	return 1 + n.children[0].height()
}

// entries calls visit with all mappings.
func (n *modelNode) entries(visit func(key, value uint64)) {
	for i := range n.values {
		visit(n.keys[i], n.values[i])
	}
	for _, kid := range n.children {
		kid.entries(visit)
	}
}

func (n *modelNode) nodes(seen map[*modelNode]bool) {
	seen[n] = true
	for _, kid := range n.children {
		kid.nodes(seen)
	}
}

// change returns a copy of the tree with the changes, which must ascend.
func (n *modelNode) change(changes []change) *modelNode {
	level := mergeSmall(n.edit(changes))
	for len(level) > 1 {
		level = branches(level)
	}
	if len(level) == 0 {
		return &modelNode{}
	}
	top := level[0]
	for len(top.children) == 1 {
		top = top.children[0]
	}
	return top
}

func (n *modelNode) edit(changes []change) []*modelNode {
	if len(changes) == 0 {
		return []*modelNode{n}
	}
	if n.leaf() {
		merged := map[uint64]uint64{}
		n.entries(func(k, v uint64) { merged[k] = v })
		for _, c := range changes {
			if merged[c.key] = c.value; c.drop {
				delete(merged, c.key)
			}
		}
		return leaves(merged)
	}
	var kids []*modelNode
	for i, kid := range n.children {
		end := len(changes)
		if i+1 < len(n.children) {
			end, _ = slices.BinarySearchFunc(changes, n.keys[i+1], func(c change, k uint64) int {
				if c.key < k {
					return -1
				}
				return 1
			})
		}
		kids = append(kids, kid.edit(changes[:end])...)
		changes = changes[end:]
	}
	if kids = mergeSmall(kids); slices.Equal(kids, n.children) {
		return []*modelNode{n}
	}
	return branches(kids)
}

func leaves(entries map[uint64]uint64) []*modelNode {
	var keys []uint64
	for k := range entries {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var all []*modelNode
	for _, part := range nodeSizes(len(keys)) {
		n := &modelNode{keys: slices.Clone(keys[:part])}
		for _, k := range n.keys {
			n.values = append(n.values, entries[k])
		}
		all, keys = append(all, n), keys[part:]
	}
	return all
}

// branches returns nodes above children. A key may be lower than the first key of its child, as
// after removals.
func branches(kids []*modelNode) []*modelNode {
	var all []*modelNode
	for _, part := range nodeSizes(len(kids)) {
		n := &modelNode{children: slices.Clone(kids[:part])}
		for i, kid := range n.children {
			key := kid.keys[0]
			if i > 0 && key%3 == 0 {
				key = n.children[i-1].last() + (key-n.children[i-1].last()+1)/2
			}
			n.keys = append(n.keys, key)
		}
		all, kids = append(all, n), kids[part:]
	}
	return all
}

// nodeSizes divides n entries among nodes of similar size.
func nodeSizes(n int) []int {
	var parts []int
	for count := (n + modelNodeMax - 1) / modelNodeMax; count > 0; count-- {
		parts = append(parts, n/count)
		n -= n / count
	}
	return parts
}

// mergeSmall merges nodes that have too few entries with a neighbour.
func mergeSmall(level []*modelNode) []*modelNode {
	for i := 0; i < len(level); i++ {
		if len(level) == 1 || len(level[i].keys) >= modelNodeMin {
			continue
		}
		at := max(i-1, 0)
		a, b := level[at], level[at+1]
		var joined []*modelNode
		if a.leaf() {
			merged := map[uint64]uint64{}
			a.entries(func(k, v uint64) { merged[k] = v })
			b.entries(func(k, v uint64) { merged[k] = v })
			joined = leaves(merged)
		} else {
			joined = branches(mergeSmall(slices.Concat(a.children, b.children)))
		}
		level = slices.Concat(level[:at], joined, level[at+2:])
		i = at - 1
	}
	return level
}

// pool writes the trees of thin devices as an image with a held root and without space maps,
// which is sufficient for the tools with -m.
func pool(devices map[uint32]*modelNode) *image {
	m := &image{}
	m.grow()
	roots := map[uint64]uint64{}
	for id := range uint32(len(devices)) {
		roots[uint64(id+1)] = m.put(devices[id+1])
	}
	top := &modelNode{}
	if level := leaves(roots); len(level) > 0 {
		for len(level) > 1 {
			level = branches(level)
		}
		top = level[0]
	}
	details := m.grow()
	m.node(details, flagLeaf, 0, 126, detailsSize)
	setChecksum(m.block(details), nodeSalt)
	mapping := m.put(top)
	held := m.grow()
	le := binary.LittleEndian
	for _, n := range []uint64{held, 0} {
		le.PutUint64(m.block(n)[offMappingRoot:], mapping)
		if n == 0 {
			le.PutUint64(m.block(n)[offHeldRoot:], held)
		}
		m.superblock(n, details)
	}
	return m
}

func (m *image) put(n *modelNode) uint64 {
	if n.block != 0 {
		return n.block
	}
	var values []uint64
	flags := uint32(flagLeaf)
	if values = n.values; !n.leaf() {
		flags = flagInternal
		for _, kid := range n.children {
			values = append(values, m.put(kid))
		}
	}
	n.block = m.grow()
	m.node(n.block, flags, len(n.keys), modelNodeMax, 8)
	for i, key := range n.keys {
		m.setKey(n.block, i, key)
		binary.LittleEndian.PutUint64(m.block(n.block)[nodeHeader+8*modelNodeMax+8*i:], values[i])
	}
	setChecksum(m.block(n.block), nodeSalt)
	return n.block
}

// drawDevices draws devices, each a changed copy of one before it.
func drawDevices(t *rapid.T) map[uint32]*modelNode {
	devices := map[uint32]*modelNode{1: {}}
	span := rapid.SampledFrom([]uint64{8, 60, 400, 1 << 40}).Draw(t, "span")
	for id := uint32(1); id <= uint32(rapid.IntRange(1, 5).Draw(t, "devices")); id++ {
		tree := &modelNode{}
		if id > 1 {
			tree = devices[rapid.Uint32Range(1, id-1).Draw(t, "origin")]
		}
		for range rapid.IntRange(0, 3).Draw(t, "rounds") {
			tree = tree.change(drawChanges(t, span, id))
		}
		devices[id] = tree
	}
	return devices
}

func drawChanges(t *rapid.T, span uint64, id uint32) []change {
	drop := rapid.IntRange(0, 3).Draw(t, "kind") == 0
	made := map[uint64]change{}
	for range rapid.IntRange(0, 6).Draw(t, "stretches") {
		first := rapid.Uint64Range(0, span).Draw(t, "virtual")
		data := rapid.Uint64Range(0, 300).Draw(t, "data")
		length := rapid.Uint64Range(1, 40).Draw(t, "length")
		for i := range length {
			at := uint64(rapid.Uint8Range(0, 1).Draw(t, "time"))
			made[first+i] = change{key: first + i, value: (data+i)<<24 | (uint64(id) + at), drop: drop}
		}
	}
	var changes []change
	for _, c := range made {
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b change) int {
		if a.key < b.key {
			return -1
		}
		return 1
	})
	return changes
}

// countingImage counts the reads of each block.
type countingImage struct {
	*image
	blocks []atomic.Int32
}

func countReads(m *image) *countingImage {
	return &countingImage{image: m, blocks: make([]atomic.Int32, len(m.b)/blockSize)}
}

func (c *countingImage) ReadAt(p []byte, off int64) (int, error) {
	for at := off; at < off+int64(len(p)); at += int64(blockSize) {
		if n := at / int64(blockSize); n < int64(len(c.blocks)) {
			c.blocks[n].Add(1)
		}
	}
	return c.reader().ReadAt(p, off)
}

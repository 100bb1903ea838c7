package metadata

import (
	"encoding/binary"
	"slices"
	"sync/atomic"

	"pgregory.net/rapid"
)

// limb is a node of a device's tree in memory. Trees are changed by copying the
// way down, as the kernel does, so that they share all else. Nodes hold so few
// entries that small trees are high; the tools take them, for a node says itself
// how many fit.
type limb struct {
	keys   []uint64
	values []uint64 // a leaf's
	kids   []*limb
	block  uint64 // once written
}

const limbMax, limbMin = 6, 2

type change struct {
	key, value uint64
	drop       bool
}

func (n *limb) leaf() bool { return n.kids == nil }
func (n *limb) last() uint64 {
	for !n.leaf() {
		n = n.kids[len(n.kids)-1]
	}
	return n.keys[len(n.keys)-1]
}

func (n *limb) height() int {
	if n.leaf() {
		return 1
	}
	return 1 + n.kids[0].height()
}

// entries calls visit with all that is mapped.
func (n *limb) entries(visit func(key, value uint64)) {
	for i := range n.values {
		visit(n.keys[i], n.values[i])
	}
	for _, kid := range n.kids {
		kid.entries(visit)
	}
}

func (n *limb) nodes(seen map[*limb]bool) {
	seen[n] = true
	for _, kid := range n.kids {
		kid.nodes(seen)
	}
}

// change returns a tree with changes, which ascend, made to that of n.
func (n *limb) change(changes []change) *limb {
	level := mend(n.edit(changes))
	for len(level) > 1 {
		level = branches(level)
	}
	if len(level) == 0 {
		return &limb{}
	}
	top := level[0]
	for len(top.kids) == 1 {
		top = top.kids[0]
	}
	return top
}

func (n *limb) edit(changes []change) []*limb {
	if len(changes) == 0 {
		return []*limb{n}
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
	var kids []*limb
	for i, kid := range n.kids {
		end := len(changes)
		if i+1 < len(n.kids) {
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
	if kids = mend(kids); slices.Equal(kids, n.kids) {
		return []*limb{n}
	}
	return branches(kids)
}

func leaves(entries map[uint64]uint64) []*limb {
	var keys []uint64
	for k := range entries {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var all []*limb
	for _, part := range shares(len(keys)) {
		n := &limb{keys: slices.Clone(keys[:part])}
		for _, k := range n.keys {
			n.values = append(n.values, entries[k])
		}
		all, keys = append(all, n), keys[part:]
	}
	return all
}

// branches puts nodes above kids. A key may be lower than its child's first, as
// removals leave it.
func branches(kids []*limb) []*limb {
	var all []*limb
	for _, part := range shares(len(kids)) {
		n := &limb{kids: slices.Clone(kids[:part])}
		for i, kid := range n.kids {
			key := kid.keys[0]
			if i > 0 && key%3 == 0 {
				key = n.kids[i-1].last() + (key-n.kids[i-1].last()+1)/2
			}
			n.keys = append(n.keys, key)
		}
		all, kids = append(all, n), kids[part:]
	}
	return all
}

// shares cuts n into parts that are nodes.
func shares(n int) []int {
	var parts []int
	for count := (n + limbMax - 1) / limbMax; count > 0; count-- {
		parts = append(parts, n/count)
		n -= n / count
	}
	return parts
}

// mend joins nodes that have too few entries with a neighbor.
func mend(level []*limb) []*limb {
	for i := 0; i < len(level); i++ {
		if len(level) == 1 || len(level[i].keys) >= limbMin {
			continue
		}
		at := max(i-1, 0)
		a, b := level[at], level[at+1]
		var joined []*limb
		if a.leaf() {
			merged := map[uint64]uint64{}
			a.entries(func(k, v uint64) { merged[k] = v })
			b.entries(func(k, v uint64) { merged[k] = v })
			joined = leaves(merged)
		} else {
			joined = branches(mend(slices.Concat(a.kids, b.kids)))
		}
		level = slices.Concat(level[:at], joined, level[at+2:])
		i = at - 1
	}
	return level
}

// pool writes the trees of thin devices as an image with a held root, which is
// enough for the tools' -m.
func pool(devices map[uint32]*limb) *image {
	m := &image{}
	m.grow()
	roots := map[uint64]uint64{}
	for id := range uint32(len(devices)) {
		roots[uint64(id+1)] = m.put(devices[id+1])
	}
	top := &limb{}
	if level := leaves(roots); len(level) > 0 {
		for len(level) > 1 {
			level = branches(level)
		}
		top = level[0]
	}
	details := m.grow()
	m.node(details, flagLeaf, 0, 126, detailsSize)
	seal(m.block(details), nodeSalt)
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

func (m *image) put(n *limb) uint64 {
	if n.block != 0 {
		return n.block
	}
	var values []uint64
	flags := uint32(flagLeaf)
	if values = n.values; !n.leaf() {
		flags = flagInternal
		for _, kid := range n.kids {
			values = append(values, m.put(kid))
		}
	}
	n.block = m.grow()
	m.node(n.block, flags, len(n.keys), limbMax, 8)
	for i, key := range n.keys {
		m.setKey(n.block, i, key)
		binary.LittleEndian.PutUint64(m.block(n.block)[nodeHeader+8*limbMax+8*i:], values[i])
	}
	seal(m.block(n.block), nodeSalt)
	return n.block
}

// drawDevices draws devices that come from each other by changes.
func drawDevices(t *rapid.T) map[uint32]*limb {
	devices := map[uint32]*limb{1: {}}
	span := rapid.SampledFrom([]uint64{8, 60, 400, 1 << 40}).Draw(t, "span")
	for id := uint32(1); id <= uint32(rapid.IntRange(1, 5).Draw(t, "devices")); id++ {
		tree := &limb{}
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

// meteredImage counts how often each block is read.
type meteredImage struct {
	*image
	blocks []atomic.Int32
}

func count(m *image) *meteredImage {
	return &meteredImage{image: m, blocks: make([]atomic.Int32, len(m.b)/blockSize)}
}

func (c *meteredImage) ReadAt(p []byte, off int64) (int, error) {
	for at := off; at < off+int64(len(p)); at += int64(blockSize) {
		if n := at / int64(blockSize); n < int64(len(c.blocks)) {
			c.blocks[n].Add(1)
		}
	}
	return c.reader().ReadAt(p, off)
}

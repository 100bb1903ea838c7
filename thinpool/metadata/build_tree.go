package metadata

import (
	"encoding/binary"
	"fmt"
)

// Subtree is a node that a Builder has written, with the nodes below it. It may be used several
// times.
type Subtree struct {
	block       uint64
	first, last uint64 // keys
	mapped      uint64 // number of entries in its leaves
	entries     int    // of the node itself
	height      int    // 1: a leaf; 0: no subtree
}

// Block returns the metadata block of the top node.
func (s Subtree) Block() uint64 { return s.block }

// Mapped returns the number of mappings.
func (s Subtree) Mapped() uint64 { return s.mapped }

// Height returns the height, which is 1 for a leaf.
func (s Subtree) Height() int { return s.height }

// WithFirstKey returns s with a lower first key in its parent. The kernel leaves such a key
// there when it removes the first mapping.
func (s Subtree) WithFirstKey(key uint64) Subtree {
	s.first = min(s.first, key)
	return s
}

// nodeMax returns the number of entries that fit a node (persistent-data/dm-btree.c,
// calc_max_entries).
func nodeMax(value int) int { return (blockSize - nodeHeader) / (8 + value) / 3 * 3 }

// nodeMin returns the smallest number of entries in a node that is not a root.
func nodeMin(value int) int { return nodeMax(value) / 3 }

var (
	mappingMax = nodeMax(8)
	mappingMin = nodeMin(8)
)

// writeNode writes a node with encoded values. It returns false if an equal node exists.
func (b *Builder) writeNode(flags uint32, value int, keys []uint64, values []byte) (uint64, bool, error) {
	fill := func(node []byte) {
		le := binary.LittleEndian
		le.PutUint32(node[4:], flags)
		le.PutUint32(node[16:], uint32(len(keys)))
		le.PutUint32(node[20:], uint32(nodeMax(value)))
		le.PutUint32(node[24:], uint32(value))
		for i, k := range keys {
			le.PutUint64(node[nodeHeader+8*i:], k)
		}
		copy(node[nodeHeader+8*nodeMax(value):], values)
	}
	var same string
	if b.dedup != nil {
		clear(b.scratch)
		fill(b.scratch)
		same = string(b.scratch)
		if block, ok := b.dedup[same]; ok {
			return block, false, nil
		}
	}
	block, err := b.out.alloc()
	if err != nil {
		return 0, false, err
	}
	if b.out.full() { // only counted
		return block, true, nil
	}
	node, err := b.out.slot(block)
	if err != nil {
		return 0, false, err
	}
	fill(node)
	binary.LittleEndian.PutUint64(node[8:], block)
	setChecksum(node, nodeSalt)
	if b.dedup != nil {
		b.dedup[same] = block
	}
	return block, true, nil
}

// writeInternal writes an internal node above children.
func (b *Builder) writeInternal(children []Subtree) (Subtree, error) {
	keys, values := b.keys[:0], b.values[:0]
	s := Subtree{first: children[0].first, last: children[len(children)-1].last, height: children[0].height + 1,
		entries: len(children)}
	for _, c := range children {
		keys = append(keys, c.first)
		values = binary.LittleEndian.AppendUint64(values, c.block)
		s.mapped += c.mapped
	}
	b.keys, b.values = keys, values
	block, written, err := b.writeNode(flagInternal, 8, keys, values)
	if err != nil {
		return Subtree{}, err
	}
	s.block = block
	if written {
		for _, c := range children {
			b.metadata.add(c.block)
		}
	}
	return s, nil
}

// stack writes levels of internal nodes above children of one height until one node is left.
func (b *Builder) stack(children []Subtree) (Subtree, error) {
	fill := b.entriesPerNode(8)
	for len(children) > 1 {
		var level []Subtree
		for len(children) > 0 {
			n := nextNodeSize(len(children), fill, 8)
			s, err := b.writeInternal(children[:n])
			if err != nil {
				return Subtree{}, err
			}
			level, children = append(level, s), children[n:]
		}
		children = level
	}
	return children[0], nil
}

// nextNodeSize returns how many of the n remaining entries belong in the next node: fill, or at
// the end so many that the last two nodes have equal sizes.
func nextNodeSize(n, fill, value int) int {
	switch least := nodeMin(value); {
	case n >= fill+fill:
		return fill
	case n <= nodeMax(value) && (n < 2*least || n <= fill):
		return n
	default:
		return (n + 1) / 2
	}
}

// entriesPerNode returns the number of entries of a new node.
func (b *Builder) entriesPerNode(value int) int {
	return max(nodeMin(value), nodeMax(value)*b.fill/100)
}

// leafBuilder writes the ascending entries of one tree as leaves.
type leafBuilder struct {
	b       *Builder
	value   int
	perLeaf int // number of entries of a leaf
	most    int // largest number of pending entries
	keys    []uint64
	values  []byte
	leaves  []Subtree
	onEntry func(value []byte) // counts the reference of an entry; may be nil
}

func (b *Builder) leaves(value int, onEntry func([]byte)) *leafBuilder {
	filled := b.entriesPerNode(value)
	return &leafBuilder{b: b, value: value, perLeaf: filled, most: max(2*filled, nodeMax(value)), onEntry: onEntry}
}

func (l *leafBuilder) add(key uint64, value ...byte) error {
	l.keys, l.values = append(l.keys, key), append(l.values, value...)
	if len(l.keys) >= l.most {
		return l.emit(l.perLeaf)
	}
	return nil
}

// addMapping adds an entry with a value of 8 bytes.
func (l *leafBuilder) addMapping(key, value uint64) error {
	l.keys, l.values = append(l.keys, key), binary.LittleEndian.AppendUint64(l.values, value)
	if len(l.keys) >= l.most {
		return l.emit(l.perLeaf)
	}
	return nil
}

func (l *leafBuilder) emit(n int) error {
	keys, values := l.keys[:n], l.values[:n*l.value]
	s := Subtree{height: 1, entries: n, mapped: uint64(n)}
	if n > 0 {
		s.first, s.last = keys[0], keys[n-1]
	}
	block, written, err := l.b.writeNode(flagLeaf, l.value, keys, values)
	if err != nil {
		return err
	}
	s.block = block
	for i := range n {
		if written && l.onEntry != nil {
			l.onEntry(values[i*l.value:][:l.value])
		}
	}
	l.leaves = append(l.leaves, s)
	l.keys = l.keys[:copy(l.keys, l.keys[n:])]
	l.values = l.values[:copy(l.values, l.values[n*l.value:])]
	return nil
}

// flush writes the pending entries.
func (l *leafBuilder) flush() error {
	for len(l.keys) > 0 {
		if err := l.emit(nextNodeSize(len(l.keys), l.perLeaf, l.value)); err != nil {
			return err
		}
	}
	return nil
}

// root writes the rest of the tree and returns it. It is an empty leaf if there are no entries.
func (l *leafBuilder) root() (Subtree, error) {
	if err := l.flush(); err != nil {
		return Subtree{}, err
	}
	if len(l.leaves) == 0 {
		if err := l.emit(0); err != nil {
			return Subtree{}, err
		}
	}
	return l.b.stack(l.leaves)
}

// checkSiblings checks whether children may be in one node or tree.
func checkSiblings(children []Subtree) error {
	for i, c := range children {
		switch {
		case c.height == 0:
			return fmt.Errorf("child %d is not a subtree", i)
		case c.height != children[0].height:
			return fmt.Errorf("child %d has height %d, want %d", i, c.height, children[0].height)
		case c.entries < mappingMin:
			return fmt.Errorf("child %d at block %d has %d entries, want at least %d below a root", i, c.block, c.entries,
				mappingMin)
		case i > 0 && c.first <= children[i-1].last:
			return fmt.Errorf("child %d begins at key %d, want a key after %d", i, c.first, children[i-1].last)
		}
	}
	return nil
}

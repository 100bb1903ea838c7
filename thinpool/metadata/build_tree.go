package metadata

import (
	"encoding/binary"
	"fmt"
)

// Subtree is a node that a Builder has written, with all that is under it. It
// may be used any number of times.
type Subtree struct {
	block       uint64
	first, last uint64 // keys
	mapped      uint64 // entries of its leaves
	entries     int    // of its own
	height      int    // 1: a leaf; 0: no subtree
}

// Block is the metadata block of its topmost node.
func (s Subtree) Block() uint64 { return s.block }

// Mapped is the number of mappings under it.
func (s Subtree) Mapped() uint64 { return s.mapped }

// Height is 1 for a leaf.
func (s Subtree) Height() int { return s.height }

// Under is s as it stands in a parent under a key below its first, which the
// kernel leaves there when the first mapping goes.
func (s Subtree) WithFirstKey(key uint64) Subtree {
	s.first = min(s.first, key)
	return s
}

// nodeMax is calc_max_entries of persistent-data/dm-btree.c.
func nodeMax(value int) int { return (blockSize - nodeHeader) / (8 + value) / 3 * 3 }

// nodeMin is what a node that is not a root holds at least.
func nodeMin(value int) int { return nodeMax(value) / 3 }

var (
	mappingMax = nodeMax(8)
	mappingMin = nodeMin(8)
)

// writeNode writes one node; values are already encoded.
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
	if b.same != nil {
		clear(b.scratch)
		fill(b.scratch)
		same = string(b.scratch)
		if block, ok := b.same[same]; ok {
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
	seal(node, nodeSalt)
	if b.same != nil {
		b.same[same] = block
	}
	return block, true, nil
}

// internal writes one node above children.
func (b *Builder) internal(children []Subtree) (Subtree, error) {
	keys, values := b.keys[:0], b.values[:0]
	s := Subtree{first: children[0].first, last: children[len(children)-1].last, height: children[0].height + 1, entries: len(children)}
	for _, c := range children {
		keys = append(keys, c.first)
		values = binary.LittleEndian.AppendUint64(values, c.block)
		s.mapped += c.mapped
	}
	b.keys, b.values = keys, values
	block, fresh, err := b.writeNode(flagInternal, 8, keys, values)
	if err != nil {
		return Subtree{}, err
	}
	s.block = block
	if fresh {
		for _, c := range children {
			b.metadata.add(c.block)
		}
	}
	return s, nil
}

// above stacks internal nodes onto children of one height until one is left.
func (b *Builder) above(children []Subtree) (Subtree, error) {
	fill := b.filled(8)
	for len(children) > 1 {
		var level []Subtree
		for len(children) > 0 {
			n := part(len(children), fill, 8)
			s, err := b.internal(children[:n])
			if err != nil {
				return Subtree{}, err
			}
			level, children = append(level, s), children[n:]
		}
		children = level
	}
	return children[0], nil
}

// part is how many of the n entries left go into the next node: fill of them,
// and at the end so many that the last two are alike.
func part(n, fill, value int) int {
	switch least := nodeMin(value); {
	case n >= fill+fill:
		return fill
	case n <= nodeMax(value) && (n < 2*least || n <= fill):
		return n
	default:
		return (n + 1) / 2
	}
}

// filled is how many entries a node is given.
func (b *Builder) filled(value int) int {
	return max(nodeMin(value), nodeMax(value)*b.fill/100)
}

// leafBuilder turns ascending entries of one tree into leaves.
type leafBuilder struct {
	b      *Builder
	value  int
	filled int // entries that a leaf is given
	most   int // entries that may be pending
	keys   []uint64
	values []byte
	leaves []Subtree
	point  func(value []byte) // counts what an entry refers to
}

func (b *Builder) leaves(value int, point func([]byte)) *leafBuilder {
	filled := b.filled(value)
	return &leafBuilder{b: b, value: value, filled: filled, most: max(2*filled, nodeMax(value)), point: point}
}

func (l *leafBuilder) add(key uint64, value ...byte) error {
	l.keys, l.values = append(l.keys, key), append(l.values, value...)
	if len(l.keys) >= l.most {
		return l.emit(l.filled)
	}
	return nil
}

// addMapping is add of a value of 8 bytes.
func (l *leafBuilder) addMapping(key, value uint64) error {
	l.keys, l.values = append(l.keys, key), binary.LittleEndian.AppendUint64(l.values, value)
	if len(l.keys) >= l.most {
		return l.emit(l.filled)
	}
	return nil
}

func (l *leafBuilder) emit(n int) error {
	keys, values := l.keys[:n], l.values[:n*l.value]
	s := Subtree{height: 1, entries: n, mapped: uint64(n)}
	if n > 0 {
		s.first, s.last = keys[0], keys[n-1]
	}
	block, fresh, err := l.b.writeNode(flagLeaf, l.value, keys, values)
	if err != nil {
		return err
	}
	s.block = block
	for i := range n {
		if fresh && l.point != nil {
			l.point(values[i*l.value:][:l.value])
		}
	}
	l.leaves = append(l.leaves, s)
	l.keys = l.keys[:copy(l.keys, l.keys[n:])]
	l.values = l.values[:copy(l.values, l.values[n*l.value:])]
	return nil
}

// flush writes what is pending.
func (l *leafBuilder) flush() error {
	for len(l.keys) > 0 {
		if err := l.emit(part(len(l.keys), l.filled, l.value)); err != nil {
			return err
		}
	}
	return nil
}

// root ends the tree, which is an empty leaf where nothing was added.
func (l *leafBuilder) root() (Subtree, error) {
	if err := l.flush(); err != nil {
		return Subtree{}, err
	}
	if len(l.leaves) == 0 {
		if err := l.emit(0); err != nil {
			return Subtree{}, err
		}
	}
	return l.b.above(l.leaves)
}

// checkSiblings tells whether children may stand in one node or tree.
func checkSiblings(children []Subtree) error {
	for i, c := range children {
		switch {
		case c.height == 0:
			return fmt.Errorf("child %d is no subtree", i)
		case c.height != children[0].height:
			return fmt.Errorf("child %d has height %d among those of height %d", i, c.height, children[0].height)
		case c.entries < mappingMin:
			return fmt.Errorf("child %d at block %d has %d entries: below a root they must be %d", i, c.block, c.entries, mappingMin)
		case i > 0 && c.first <= children[i-1].last:
			return fmt.Errorf("child %d begins at %d, not after %d", i, c.first, children[i-1].last)
		}
	}
	return nil
}

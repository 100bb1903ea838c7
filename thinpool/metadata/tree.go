package metadata

import (
	"fmt"
	"io"
	"sort"
)

// maxDepth is more than the depth of a sound tree: nodes are at least a third full, so 2^32
// entries of the largest size are less than 8 deep.
const maxDepth = 12

// tree reads the nodes of one btree and checks each against its place.
type tree struct {
	r     io.ReaderAt
	limit uint64 // number of metadata blocks
	kind  treeKind
}

// place is the position of a node in a tree.
type place struct {
	block   uint64
	depth   int // number of nodes above it
	allowed keys
}

// keys is the range of keys that a node may have: from low on, and below high if bounded.
//
// A node must have keys in the range of its place and must not be empty. So an error is certain
// if one tree reaches a block twice, because the first key cannot be in two ranges. The
// exception is a chain of nodes with one entry each, which maxDepth ends. Therefore no record
// of visited blocks is needed.
type keys struct {
	low, high uint64
	bounded   bool
}

// below reports whether all of k is lower than key.
func (k keys) below(key uint64) bool { return k.bounded && k.high <= key }

// within reports whether outer includes all of k.
func (k keys) within(outer keys) bool {
	return k.low >= outer.low && (!outer.bounded || k.below(outer.high))
}

// child returns the place of child i of n, an internal node at p.
func (p place) child(n node, i int) place {
	below := keys{low: n.key(i), high: p.allowed.high, bounded: p.allowed.bounded}
	if i+1 < n.entries {
		below.high, below.bounded = n.key(i+1), true
	}
	return place{block: n.child(i), depth: p.depth + 1, allowed: below}
}

// reachable checks whether a sound tree can have a node at p.
func (t tree) reachable(p place) error {
	if p.depth >= maxDepth {
		return corrupt(p.block, "the tree is deeper than %d levels", maxDepth)
	}
	if p.block == 0 || p.block >= t.limit {
		return corrupt(p.block, "a tree points to block %d of %d", p.block, t.limit)
	}
	return nil
}

// read reads the node at p into b, which backs the node.
func (t tree) read(p place, b []byte) (node, error) {
	if err := t.reachable(p); err != nil {
		return node{}, err
	}
	if err := readBlock(t.r, p.block, b); err != nil {
		return node{}, err
	}
	return t.parse(p, b)
}

// parse checks that b is a node that fits p. Only the root of an empty tree, which is a leaf,
// may be empty.
func (t tree) parse(p place, b []byte) (node, error) {
	n, err := parseNode(b, p.block, t.kind.leafValue())
	if err != nil {
		return node{}, err
	}
	if n.entries == 0 {
		if n.leaf && p.depth == 0 {
			return n, nil
		}
		return node{}, corrupt(n.block, "an empty node inside a tree")
	}
	if first := n.key(0); first < p.allowed.low {
		return node{}, corrupt(n.block, "key %d under a parent's key %d", first, p.allowed.low)
	}
	if last := n.key(n.entries - 1); p.allowed.bounded && last >= p.allowed.high {
		return node{}, corrupt(n.block, "key %d reaches the parent's next key %d", last, p.allowed.high)
	}
	return n, nil
}

// errUneven is the error for n if the leaves found before have another depth.
func errUneven(n node, depth, leaves int) error {
	if n.leaf {
		return corrupt(n.block, "a leaf %d levels deep, want %d levels", depth+1, leaves+1)
	}
	return corrupt(n.block, "an internal node %d levels deep, want a leaf", depth+1)
}

// lookup returns the value of key. It is valid until b changes.
func (t tree) lookup(root, key uint64, b []byte) ([]byte, bool, error) {
	for p := (place{block: root}); ; {
		n, err := t.read(p, b)
		if err != nil {
			return nil, false, err
		}
		i := sort.Search(n.entries, func(i int) bool { return n.key(i) > key }) - 1
		switch {
		case i < 0:
			return nil, false, nil
		case n.leaf:
			return n.value(i), n.key(i) == key, nil
		}
		p = p.child(n, i)
	}
}

// mappingTreeOf returns the mapping tree of thin device id and the block of its root.
func mappingTreeOf(r io.ReaderAt, root Superblock, id uint32) (tree, uint64, error) {
	t := tree{r: r, limit: blockLimit(root), kind: topTree}
	value, found, err := t.lookup(root.MappingRoot, uint64(id), newBlock())
	switch {
	case err != nil:
		return tree{}, 0, fmt.Errorf("look up thin device %d in the mappings at block %d: %w", id, root.MappingRoot, err)
	case !found:
		return tree{}, 0, fmt.Errorf("%w: id %d", ErrNoDevice, id)
	}
	t.kind = mappingTree
	return t, decodeNumber(value), nil
}

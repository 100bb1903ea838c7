package metadata

import (
	"fmt"
	"io"
	"sort"
)

// maxDepth is more than any sound tree has: nodes are at least a third full,
// so 2^32 entries of the fattest kind lie less than 8 deep.
const maxDepth = 12

// tree reads the nodes of one btree, of which each is checked against its place.
type tree struct {
	r     io.ReaderAt
	limit uint64 // blocks at or beyond it do not exist
	kind  treeKind
}

// place is where a tree points at a node.
type place struct {
	block   uint64
	depth   int // nodes above it
	allowed keys
}

// keys is what a node may hold: from low on, and below high where bounded.
//
// A node must keep to its place's keys and must not be empty, so a block that
// one tree comes to twice fails: its first key cannot be in two places. What is
// left is a chain of nodes with one entry each, which maxDepth ends. Thus no
// record of the blocks that were seen is needed.
type keys struct {
	low, high uint64
	bounded   bool
}

// below tells whether all of k lies under key.
func (k keys) below(key uint64) bool { return k.bounded && k.high <= key }

// within tells whether k leaves no key that outer does not allow.
func (k keys) within(outer keys) bool {
	return k.low >= outer.low && (!outer.bounded || k.below(outer.high))
}

// child is the place that n, an internal node at p, points at.
func (p place) child(n node, i int) place {
	below := keys{low: n.key(i), high: p.allowed.high, bounded: p.allowed.bounded}
	if i+1 < n.entries {
		below.high, below.bounded = n.key(i+1), true
	}
	return place{block: n.child(i), depth: p.depth + 1, allowed: below}
}

// reachable tells whether a sound tree can have a node at p.
func (t tree) reachable(p place) error {
	if p.depth >= maxDepth {
		return corrupt(p.block, "the tree is deeper than %d nodes", maxDepth)
	}
	if p.block == 0 || p.block >= t.limit {
		return corrupt(p.block, "a tree points at block %d of %d", p.block, t.limit)
	}
	return nil
}

// read reads the node at p into b, of which the node is then a view.
func (t tree) read(p place, b []byte) (node, error) {
	if err := t.reachable(p); err != nil {
		return node{}, err
	}
	if err := readBlock(t.r, p.block, b); err != nil {
		return node{}, err
	}
	return t.parse(p, b)
}

// parse checks that b is a node that may stand at p. Only an empty tree has an
// empty node: its root, a leaf.
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

// uneven is what is wrong with n where the leaves above it were deeper or less deep.
func uneven(n node, depth, leaves int) error {
	if n.leaf {
		return corrupt(n.block, "a leaf %d nodes deep in a tree whose leaves are %d deep", depth+1, leaves+1)
	}
	return corrupt(n.block, "an internal node %d nodes deep in a tree whose leaves are there", depth+1)
}

// lookup returns the value under key, valid until b is used again.
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

// mappings is the tree of what thin device id maps, with the block of its root.
func mappings(r io.ReaderAt, root Superblock, id uint32) (tree, uint64, error) {
	t := tree{r: r, limit: limit(root), kind: topTree}
	value, found, err := t.lookup(root.MappingRoot, uint64(id), newBlock())
	switch {
	case err != nil:
		return tree{}, 0, fmt.Errorf("looking thin device %d up in the mappings at block %d: %w", id, root.MappingRoot, err)
	case !found:
		return tree{}, 0, fmt.Errorf("%w: id %d", ErrNoDevice, id)
	}
	t.kind = mappingTree
	return t, number(value), nil
}

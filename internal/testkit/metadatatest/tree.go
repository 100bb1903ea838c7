package metadatatest

import (
	"slices"
	"sort"
)

// What a node of a mapping tree holds (persistent-data/dm-btree.c,
// calc_max_entries), and what one below a root holds at least.
const (
	nodeMax = 252
	nodeMin = nodeMax / 3
)

// node is one block of a copy-on-write tree. It changes in place only while
// one pointer leads to it.
type node struct {
	refs int
	keys []uint64
	vals []uint64 // data block << 24 | time, in a leaf
	kids []*node  // above the leaves
}

func (n *node) leaf() bool { return n.kids == nil }

func (n *node) under(key uint64) int {
	i := sort.Search(len(n.keys), func(i int) bool { return n.keys[i] > key })
	return max(i-1, 0)
}

func (n *node) find(key uint64) (uint64, bool) {
	for !n.leaf() {
		n = n.kids[n.under(key)]
	}
	i, ok := slices.BinarySearch(n.keys, key)
	if !ok {
		return 0, false
	}
	return n.vals[i], true
}

// shadow returns a node that may be changed in the place of n.
func shadow(n *node) *node {
	if n.refs == 1 {
		return n
	}
	n.refs--
	for _, kid := range n.kids {
		kid.refs++
	}
	return &node{refs: 1, keys: slices.Clone(n.keys), vals: slices.Clone(n.vals), kids: slices.Clone(n.kids)}
}

// release drops one pointer to n.
func release(n *node) {
	n.refs--
	if n.refs > 0 {
		return
	}
	for _, kid := range n.kids {
		release(kid)
	}
}

func insert(root *node, key, value uint64) *node {
	root, right := insertUnder(root, key, value)
	if right == nil {
		return root
	}
	return &node{refs: 1, keys: []uint64{root.keys[0], right.keys[0]}, kids: []*node{root, right}}
}

func insertUnder(n *node, key, value uint64) (self, right *node) {
	n = shadow(n)
	if n.leaf() {
		i, found := slices.BinarySearch(n.keys, key)
		if found {
			n.vals[i] = value
			return n, nil
		}
		n.keys, n.vals = slices.Insert(n.keys, i, key), slices.Insert(n.vals, i, value)
		return n, split(n)
	}
	i := n.under(key)
	n.keys[i] = min(n.keys[i], key)
	n.kids[i], right = insertUnder(n.kids[i], key, value)
	if right != nil {
		n.keys, n.kids = slices.Insert(n.keys, i+1, right.keys[0]), slices.Insert(n.kids, i+1, right)
	}
	return n, split(n)
}

func split(n *node) *node {
	if len(n.keys) <= nodeMax {
		return nil
	}
	return cut(n, len(n.keys)/2)
}

// cut moves the entries from half on into a new node.
func cut(n *node, half int) *node {
	right := &node{refs: 1, keys: slices.Clone(n.keys[half:])}
	n.keys = n.keys[:half]
	if n.leaf() {
		right.vals = slices.Clone(n.vals[half:])
		n.vals = n.vals[:half]
	} else {
		right.kids = slices.Clone(n.kids[half:])
		n.kids = n.kids[:half]
	}
	return right
}

// remove takes a key that is present out. A parent's key stays as it was when
// its child's first key goes, as in the kernel.
func remove(root *node, key uint64) *node {
	root = removeUnder(root, key)
	for len(root.kids) == 1 {
		root = root.kids[0]
	}
	return root
}

func removeUnder(n *node, key uint64) *node {
	n = shadow(n)
	if n.leaf() {
		i, _ := slices.BinarySearch(n.keys, key)
		n.keys, n.vals = slices.Delete(n.keys, i, i+1), slices.Delete(n.vals, i, i+1)
		return n
	}
	i := n.under(key)
	n.kids[i] = removeUnder(n.kids[i], key)
	if len(n.kids[i].keys) < nodeMin && len(n.kids) > 1 {
		rebalance(n, max(i-1, 0))
	}
	return n
}

// rebalance merges children i and i+1, or makes them alike
// (persistent-data/dm-btree-remove.c, __rebalance2).
func rebalance(n *node, i int) {
	left, right := shadow(n.kids[i]), shadow(n.kids[i+1])
	n.kids[i] = left
	left.keys, left.vals = append(left.keys, right.keys...), append(left.vals, right.vals...)
	if right.kids != nil {
		// The right one's first key may be lower in its parent than in itself.
		left.keys[len(left.keys)-len(right.keys)] = min(n.keys[i+1], right.keys[0])
		left.kids = append(left.kids, right.kids...)
	}
	if len(left.keys) < 2*nodeMin+1 {
		n.keys, n.kids = slices.Delete(n.keys, i+1, i+2), slices.Delete(n.kids, i+1, i+2)
		return
	}
	n.kids[i+1] = cut(left, len(left.keys)/2)
	n.keys[i+1] = n.kids[i+1].keys[0]
}

// bulk makes a tree of ascending entries whose nodes hold fill of them.
func bulk(keys, vals []uint64, fill int) *node {
	var level []*node
	for len(keys) > 0 {
		n := portion(len(keys), fill)
		level = append(level, &node{refs: 1, keys: slices.Clone(keys[:n]), vals: slices.Clone(vals[:n])})
		keys, vals = keys[n:], vals[n:]
	}
	if len(level) == 0 {
		return &node{refs: 1}
	}
	for len(level) > 1 {
		var above []*node
		for len(level) > 0 {
			n := &node{refs: 1}
			for _, kid := range level[:portion(len(level), fill)] {
				n.keys, n.kids = append(n.keys, kid.keys[0]), append(n.kids, kid)
			}
			above, level = append(above, n), level[len(n.kids):]
		}
		level = above
	}
	return level[0]
}

func portion(n, fill int) int {
	if n >= 2*fill {
		return fill
	}
	if n <= nodeMax && (n < 2*nodeMin || n <= fill) {
		return n
	}
	return n / 2
}

// each visits the entries in order.
func (n *node) each(visit func(key, value uint64)) {
	for i, key := range n.keys {
		if n.leaf() {
			visit(key, n.vals[i])
		} else {
			n.kids[i].each(visit)
		}
	}
}

package metadatatest

import (
	"slices"
	"sort"
)

// The largest number of entries in a node of a mapping tree (persistent-data/dm-btree.c,
// calc_max_entries), and the smallest in a node below a root.
const (
	nodeMax = 252
	nodeMin = nodeMax / 3
)

// node is a block of a copy-on-write tree. It may be changed in place only while it has one
// reference.
type node struct {
	refs     int
	keys     []uint64
	vals     []uint64 // data block << 24 | time, in a leaf
	children []*node  // above the leaves
}

func (n *node) leaf() bool { return n.children == nil }

func (n *node) under(key uint64) int {
	i := sort.Search(len(n.keys), func(i int) bool { return n.keys[i] > key })
	return max(i-1, 0)
}

func (n *node) find(key uint64) (uint64, bool) {
	for !n.leaf() {
		n = n.children[n.under(key)]
	}
	i, ok := slices.BinarySearch(n.keys, key)
	if !ok {
		return 0, false
	}
	return n.vals[i], true
}

// shadow returns n or a copy of it that may be changed.
func shadow(n *node) *node {
	if n.refs == 1 {
		return n
	}
	n.refs--
	for _, kid := range n.children {
		kid.refs++
	}
	return &node{refs: 1, keys: slices.Clone(n.keys), vals: slices.Clone(n.vals), children: slices.Clone(n.children)}
}

// release removes one reference to n.
func release(n *node) {
	n.refs--
	if n.refs > 0 {
		return
	}
	for _, kid := range n.children {
		release(kid)
	}
}

func insert(root *node, key, value uint64) *node {
	root, right := insertUnder(root, key, value)
	if right == nil {
		return root
	}
	return &node{refs: 1, keys: []uint64{root.keys[0], right.keys[0]}, children: []*node{root, right}}
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
	n.children[i], right = insertUnder(n.children[i], key, value)
	if right != nil {
		n.keys, n.children = slices.Insert(n.keys, i+1, right.keys[0]), slices.Insert(n.children, i+1, right)
	}
	return n, split(n)
}

func split(n *node) *node {
	if len(n.keys) <= nodeMax {
		return nil
	}
	return splitAt(n, len(n.keys)/2)
}

// splitAt moves the entries from half on to a new node.
func splitAt(n *node, half int) *node {
	right := &node{refs: 1, keys: slices.Clone(n.keys[half:])}
	n.keys = n.keys[:half]
	if n.leaf() {
		right.vals = slices.Clone(n.vals[half:])
		n.vals = n.vals[:half]
	} else {
		right.children = slices.Clone(n.children[half:])
		n.children = n.children[:half]
	}
	return right
}

// remove removes a key that exists. The key in the parent does not change if the child's first
// key is removed, as in the kernel.
func remove(root *node, key uint64) *node {
	root = removeUnder(root, key)
	for len(root.children) == 1 {
		root = root.children[0]
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
	n.children[i] = removeUnder(n.children[i], key)
	if len(n.children[i].keys) < nodeMin && len(n.children) > 1 {
		rebalance(n, max(i-1, 0))
	}
	return n
}

// rebalance merges children i and i+1, or divides their entries equally
// (persistent-data/dm-btree-remove.c, __rebalance2).
func rebalance(n *node, i int) {
	left, right := shadow(n.children[i]), shadow(n.children[i+1])
	n.children[i] = left
	left.keys, left.vals = append(left.keys, right.keys...), append(left.vals, right.vals...)
	if right.children != nil {
		// The first key of the right child may be lower in the parent than in the child.
		left.keys[len(left.keys)-len(right.keys)] = min(n.keys[i+1], right.keys[0])
		left.children = append(left.children, right.children...)
	}
	if len(left.keys) < 2*nodeMin+1 {
		n.keys, n.children = slices.Delete(n.keys, i+1, i+2), slices.Delete(n.children, i+1, i+2)
		return
	}
	n.children[i+1] = splitAt(left, len(left.keys)/2)
	n.keys[i+1] = n.children[i+1].keys[0]
}

// buildTree returns a tree of ascending entries, with fill entries in a node.
func buildTree(keys, vals []uint64, fill int) *node {
	var level []*node
	for len(keys) > 0 {
		n := nextNodeSize(len(keys), fill)
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
			for _, kid := range level[:nextNodeSize(len(level), fill)] {
				n.keys, n.children = append(n.keys, kid.keys[0]), append(n.children, kid)
			}
			above, level = append(above, n), level[len(n.children):]
		}
		level = above
	}
	return level[0]
}

func nextNodeSize(n, fill int) int {
	if n >= 2*fill {
		return fill
	}
	if n <= nodeMax && (n < 2*nodeMin || n <= fill) {
		return n
	}
	return n / 2
}

// each calls visit with the entries in order.
func (n *node) each(visit func(key, value uint64)) {
	for i, key := range n.keys {
		if n.leaf() {
			visit(key, n.vals[i])
		} else {
			n.children[i].each(visit)
		}
	}
}

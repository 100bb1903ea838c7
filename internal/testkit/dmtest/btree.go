package dmtest

import (
	"slices"
	"sort"
)

// nodeEntries is the capacity of a node of the kernel's trees for values of 8 bytes
// (drivers/md/persistent-data/dm-btree-internal.h, calc_max_entries).
const nodeEntries = 252

// node is one block of a copy-on-write tree. A node of a committed transaction never
// changes. A node of the transaction in progress (epoch) changes in place while it has
// one parent. The reference counts are in the state, so that a rollback to a committed
// state restores them.
type node[V any] struct {
	id    uint64
	epoch uint64
	keys  []uint64
	vals  []V        // in a leaf
	kids  []*node[V] // above the leaves
}

func (n *node[V]) leaf() bool { return n.kids == nil }

// under returns the index of the child that contains key.
func (n *node[V]) under(key uint64) int {
	i := sort.Search(len(n.keys), func(i int) bool { return n.keys[i] > key })
	return max(i-1, 0)
}

func (n *node[V]) find(key uint64) (int, bool) { return slices.BinarySearch(n.keys, key) }

// btree has the operations of trees whose values have reference counts. It calls inc
// and dec when one more or one fewer leaf refers to a value, as the kernel does with
// struct dm_btree_value_type (drivers/md/persistent-data/dm-btree.h).
type btree[V any] struct {
	s   *state
	inc func(V)
	dec func(V)
}

func (t btree[V]) empty() *node[V] {
	t.s.nodes++
	return &node[V]{id: t.s.ids.next(), epoch: t.s.epoch}
}

// release drops one reference to n. With the last one it drops those in n.
func (t btree[V]) release(n *node[V]) {
	if !t.s.decNode(n.id) {
		return
	}
	t.s.nodes--
	for _, v := range n.vals {
		t.dec(v)
	}
	for _, kid := range n.kids {
		t.release(kid)
	}
}

// shadow returns a node that can be changed instead of n: a copy if n is committed or
// shared, else n itself (dm-transaction-manager.c, dm_tm_shadow_block).
func (t btree[V]) shadow(n *node[V]) *node[V] {
	shared := t.s.nodeRefs.has(n.id)
	if !shared && n.epoch == t.s.epoch {
		return n
	}
	fresh := &node[V]{
		id: t.s.ids.next(), epoch: t.s.epoch,
		keys: slices.Clone(n.keys), vals: slices.Clone(n.vals), kids: slices.Clone(n.kids),
	}
	if shared {
		t.s.decNode(n.id)
		t.s.nodes++
		for _, v := range n.vals {
			t.inc(v)
		}
		for _, kid := range n.kids {
			t.s.incNode(kid.id)
		}
	}
	return fresh
}

func (t btree[V]) get(n *node[V], key uint64) (value V, ok bool) {
	for !n.leaf() {
		n = n.kids[n.under(key)]
	}
	i, ok := n.find(key)
	if ok {
		value = n.vals[i]
	}
	return value, ok
}

// update replaces the value of an existing key. It calls change when all nodes above
// the value belong to this transaction. change takes over the reference to the value.
func (t btree[V]) update(n *node[V], key uint64, change func(V) V) *node[V] {
	n = t.shadow(n)
	if n.leaf() {
		if i, ok := n.find(key); ok {
			n.vals[i] = change(n.vals[i])
		}
		return n
	}
	i := n.under(key)
	n.kids[i] = t.update(n.kids[i], key, change)
	return n
}

// insert maps key to value. The tree takes over the reference to the value.
func (t btree[V]) insert(root *node[V], key uint64, value V) (*node[V], bool) {
	root, right, added := t.insertUnder(root, key, value)
	if right != nil {
		top := t.empty()
		top.keys = []uint64{root.keys[0], right.keys[0]}
		top.kids = []*node[V]{root, right}
		root = top
	}
	return root, added
}

func (t btree[V]) insertUnder(n *node[V], key uint64, value V) (self, right *node[V], added bool) {
	n = t.shadow(n)
	if n.leaf() {
		i, found := n.find(key)
		if found {
			t.dec(n.vals[i])
			n.vals[i] = value
			return n, nil, false
		}
		n.keys = slices.Insert(n.keys, i, key)
		n.vals = slices.Insert(n.vals, i, value)
		return n, t.split(n), true
	}
	i := n.under(key)
	kid, right, added := t.insertUnder(n.kids[i], key, value)
	n.kids[i], n.keys[i] = kid, kid.keys[0]
	if right != nil {
		n.keys = slices.Insert(n.keys, i+1, right.keys[0])
		n.kids = slices.Insert(n.kids, i+1, right)
	}
	return n, t.split(n), added
}

// split moves the upper half of a node that is too large into a new node.
func (t btree[V]) split(n *node[V]) *node[V] {
	if len(n.keys) <= nodeEntries {
		return nil
	}
	half := len(n.keys) / 2
	right := t.empty()
	right.keys = slices.Clone(n.keys[half:])
	n.keys = n.keys[:half:half]
	if n.leaf() {
		right.vals = slices.Clone(n.vals[half:])
		n.vals = n.vals[:half:half]
	} else {
		right.kids = slices.Clone(n.kids[half:])
		n.kids = n.kids[:half:half]
	}
	return right
}

// remove removes an existing key. It drops empty nodes, and does not merge others.
func (t btree[V]) remove(root *node[V], key uint64) *node[V] {
	root = t.removeUnder(root, key)
	for len(root.kids) == 1 {
		only := root.kids[0]
		t.s.nodes--
		root = only
	}
	if root.kids != nil && len(root.kids) == 0 {
		root.kids = nil // without any leaf, the root is an empty leaf again
	}
	return root
}

func (t btree[V]) removeUnder(n *node[V], key uint64) *node[V] {
	n = t.shadow(n)
	if n.leaf() {
		if i, ok := n.find(key); ok {
			t.dec(n.vals[i])
			n.keys = slices.Delete(n.keys, i, i+1)
			n.vals = slices.Delete(n.vals, i, i+1)
		}
		return n
	}
	i := n.under(key)
	kid := t.removeUnder(n.kids[i], key)
	if len(kid.keys) > 0 {
		n.kids[i], n.keys[i] = kid, kid.keys[0]
		return n
	}
	t.s.nodes--
	n.keys = slices.Delete(n.keys, i, i+1)
	n.kids = slices.Delete(n.kids, i, i+1)
	return n
}

// keysIn returns the keys in [from, to), in ascending order.
func (t btree[V]) keysIn(n *node[V], from, to uint64) []uint64 {
	var out []uint64
	if n.leaf() {
		i, _ := n.find(from)
		for ; i < len(n.keys) && n.keys[i] < to; i++ {
			out = append(out, n.keys[i])
		}
		return out
	}
	for i := n.under(from); i < len(n.kids) && n.keys[i] < to; i++ {
		out = append(out, t.keysIn(n.kids[i], from, to)...)
	}
	return out
}

// each calls visit for all values, in the order of their keys.
func (n *node[V]) each(visit func(key uint64, value V)) {
	for i, v := range n.vals {
		visit(n.keys[i], v)
	}
	for _, kid := range n.kids {
		kid.each(visit)
	}
}

func (n *node[V]) highest() (uint64, bool) {
	if n == nil || len(n.keys) == 0 {
		return 0, false
	}
	for !n.leaf() {
		n = n.kids[len(n.kids)-1]
	}
	return n.keys[len(n.keys)-1], true
}

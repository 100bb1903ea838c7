package dmtest

import "math/bits"

// fan is the number of children of a trie node.
const (
	fan     = 16
	fanBits = 4
)

// trie is a persistent map with integer keys: set and del return a new trie that shares
// all other nodes with the old one. Each node has the number of keys below it, so that
// firstAbsent needs no scan.
type trie[V any] struct {
	root   *trieNode[V]
	levels uint
}

type trieNode[V any] struct {
	count uint64
	mask  uint16             // in a leaf: the set of values that are present
	kids  *[fan]*trieNode[V] // nil in a leaf
	vals  *[fan]V            // nil above the leaves
}

func slot(key uint64, level uint) int { return int(key>>(fanBits*(level-1))) & (fan - 1) }

func (t trie[V]) covers(key uint64) bool { return key>>(fanBits*t.levels) == 0 }

func (t trie[V]) len() uint64 {
	if t.root == nil {
		return 0
	}
	return t.root.count
}

func (t trie[V]) get(key uint64) (value V, ok bool) {
	if t.root == nil || !t.covers(key) {
		return value, false
	}
	n := t.root
	for level := t.levels; level > 1; level-- {
		if n = n.kids[slot(key, level)]; n == nil {
			return value, false
		}
	}
	i := slot(key, 1)
	return n.vals[i], n.mask&(1<<i) != 0
}

func (t trie[V]) has(key uint64) bool {
	_, ok := t.get(key)
	return ok
}

func (t trie[V]) set(key uint64, value V) trie[V] {
	for t.levels == 0 || !t.covers(key) {
		if t.root != nil {
			t.root = &trieNode[V]{count: t.root.count, kids: &[fan]*trieNode[V]{t.root}}
		}
		t.levels++
	}
	t.root = t.root.set(t.levels, key, value)
	return t
}

func (n *trieNode[V]) set(level uint, key uint64, value V) *trieNode[V] {
	fresh := n.clone(level)
	i := slot(key, level)
	if level == 1 {
		if fresh.mask&(1<<i) == 0 {
			fresh.mask |= 1 << i
			fresh.count++
		}
		fresh.vals[i] = value
		return fresh
	}
	old := fresh.kids[i]
	fresh.kids[i] = old.set(level-1, key, value)
	fresh.count += fresh.kids[i].count
	if old != nil {
		fresh.count -= old.count
	}
	return fresh
}

func (n *trieNode[V]) clone(level uint) *trieNode[V] {
	fresh := &trieNode[V]{}
	if n != nil {
		fresh.count, fresh.mask = n.count, n.mask
	}
	if level == 1 {
		fresh.vals = new([fan]V)
		if n != nil {
			*fresh.vals = *n.vals
		}
		return fresh
	}
	fresh.kids = new([fan]*trieNode[V])
	if n != nil {
		*fresh.kids = *n.kids
	}
	return fresh
}

func (t trie[V]) del(key uint64) trie[V] {
	if t.has(key) {
		if t.root = t.root.del(t.levels, key); t.root == nil {
			t.levels = 0
		}
	}
	return t
}

// del removes an existing key.
func (n *trieNode[V]) del(level uint, key uint64) *trieNode[V] {
	if n.count == 1 {
		return nil
	}
	fresh := n.clone(level)
	fresh.count--
	i := slot(key, level)
	if level == 1 {
		var zero V
		fresh.mask &^= 1 << i
		fresh.vals[i] = zero
		return fresh
	}
	fresh.kids[i] = fresh.kids[i].del(level-1, key)
	return fresh
}

// firstAbsent returns the lowest key in [from, limit) that is not in t.
func (t trie[V]) firstAbsent(from, limit uint64) (uint64, bool) {
	for key := from; key < limit; {
		next, present := t.skip(key)
		if !present {
			return key, true
		}
		key = next
	}
	return 0, false
}

// skip reports whether key is present. If so, it returns the next key that may be
// absent: the one after the largest full subtree that contains key.
func (t trie[V]) skip(key uint64) (next uint64, present bool) {
	if t.root == nil || !t.covers(key) {
		return key, false
	}
	n := t.root
	for level := t.levels; ; level-- {
		if size := uint64(1) << (fanBits * level); n.count == size {
			return (key | (size - 1)) + 1, true
		}
		i := slot(key, level)
		if level == 1 {
			return key + 1, n.mask&(1<<i) != 0
		}
		if n = n.kids[i]; n == nil {
			return key, false
		}
	}
}

// all calls yield for each key, in ascending order, until yield returns false.
func (t trie[V]) all(yield func(uint64, V) bool) {
	if t.root != nil {
		t.root.all(t.levels, 0, yield)
	}
}

func (n *trieNode[V]) all(level uint, base uint64, yield func(uint64, V) bool) bool {
	for i := range uint64(fan) {
		key := base | i<<(fanBits*(level-1))
		switch {
		case level == 1:
			if n.mask&(1<<i) != 0 && !yield(key, n.vals[i]) {
				return false
			}
		case n.kids[i] != nil:
			if !n.kids[i].all(level-1, key, yield) {
				return false
			}
		}
	}
	return true
}

// highest returns the highest key.
func (t trie[V]) highest() (key uint64, ok bool) {
	if t.root == nil {
		return 0, false
	}
	n := t.root
	for level := t.levels; ; level-- {
		if level == 1 {
			return key | uint64(bits.Len16(n.mask)-1), true
		}
		i := fan - 1
		for n.kids[i] == nil {
			i--
		}
		key |= uint64(i) << (fanBits * (level - 1))
		n = n.kids[i]
	}
}

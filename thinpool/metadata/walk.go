package metadata

import "io"

// maxDepth is more than any sound tree has: nodes are at least a third full,
// so 2^32 entries of the fattest kind lie less than 8 deep.
const maxDepth = 12

// walker goes through the leaves of one btree in the order of their keys.
type walker struct {
	r      io.ReaderAt
	limit  uint64 // blocks at or beyond it do not exist
	value  int    // size of the leaves' values
	seen   map[uint64]struct{}
	blocks [maxDepth][]byte // one for each level, so that a parent outlives its child
	leaf   func(node) error
}

// keys is what a node may hold: from low on, and below high where bounded.
type keys struct {
	low, high uint64
	bounded   bool
}

func (w *walker) walk(root uint64) error {
	w.seen = make(map[uint64]struct{})
	return w.visit(root, 0, keys{})
}

func (w *walker) visit(block uint64, depth int, allowed keys) error {
	n, err := w.read(block, depth)
	if err != nil {
		return err
	}
	if err := fits(n, depth, allowed); err != nil {
		return err
	}
	if n.leaf {
		return w.leaf(n)
	}
	for i := range n.entries {
		below := keys{low: n.key(i), high: allowed.high, bounded: allowed.bounded}
		if i+1 < n.entries {
			below.high, below.bounded = n.key(i+1), true
		}
		if err := w.visit(n.child(i), depth+1, below); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) read(block uint64, depth int) (node, error) {
	if depth >= maxDepth {
		return node{}, corrupt(block, "the tree is deeper than %d nodes", maxDepth)
	}
	if block == 0 || block >= w.limit {
		return node{}, corrupt(block, "a tree points at block %d of %d", block, w.limit)
	}
	if _, twice := w.seen[block]; twice {
		return node{}, corrupt(block, "the tree comes to block %d twice", block)
	}
	if w.blocks[depth] == nil {
		w.blocks[depth] = newBlock()
	}
	if err := readBlock(w.r, block, w.blocks[depth]); err != nil {
		return node{}, err
	}
	n, err := parseNode(w.blocks[depth], block, w.value)
	if err != nil {
		return node{}, err
	}
	w.seen[block] = struct{}{}
	return n, nil
}

// fits tells whether n may stand where its parent points at it. Only an empty
// tree has an empty node: its root, a leaf.
func fits(n node, depth int, allowed keys) error {
	if n.entries == 0 {
		if n.leaf && depth == 0 {
			return nil
		}
		return corrupt(n.block, "an empty node inside a tree")
	}
	if first := n.key(0); first < allowed.low {
		return corrupt(n.block, "key %d under a parent's key %d", first, allowed.low)
	}
	if last := n.key(n.entries - 1); allowed.bounded && last >= allowed.high {
		return corrupt(n.block, "key %d reaches the parent's next key %d", last, allowed.high)
	}
	return nil
}

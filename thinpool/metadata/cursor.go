package metadata

import "context"

// cursor visits one tree in the order of its keys. Its position is a node that was not read, or
// an entry of a leaf. It may skip a node without reading it.
//
// It holds one node and the children of one node for each level of the tree: 1 MiB times its
// height.
type cursor struct {
	tree
	root   place
	height int // of the whole tree, after measureHeight; 1 is a leaf
	levels [maxDepth]level
	depth  int // number of entered nodes, from the root down
	done   bool
}

// level is a node that the cursor has entered.
type level struct {
	node
	place    place
	i        int    // the child or entry at the cursor's position
	own      []byte // the buffer for a node that was not read ahead
	ownBlock uint64 // the block number of own

	ahead     [][]byte // children that were read ahead, by index
	aheadFree []byte   // the unused part of aheadBuf
	aheadBuf  []byte
}

// top returns the innermost node that was entered.
func (c *cursor) top() *level { return &c.levels[c.depth-1] }

// atEntry reports whether the position is an entry, not a node.
func (c *cursor) atEntry() bool { return c.depth > 0 && c.top().leaf }

// at returns the node at the position.
func (c *cursor) at() place {
	if c.depth == 0 {
		return c.root
	}
	l := c.top()
	return l.place.child(l.node, l.i)
}

// heightHere returns the height of the node at the position, 0 for an entry.
func (c *cursor) heightHere() int { return c.height - c.depth }

// low returns the lowest possible key at the position.
func (c *cursor) low() uint64 {
	if c.depth == 0 {
		return c.root.allowed.low
	}
	l := c.top()
	return l.key(l.i)
}

// before reports whether all keys at the position are lower than other's.
func (c *cursor) before(other *cursor) bool {
	if c.atEntry() {
		return c.low() < other.low()
	}
	return c.at().allowed.below(other.low())
}

// next moves past the node or entry at the position.
func (c *cursor) next() {
	for c.depth > 0 {
		l := c.top()
		if l.i++; l.i < l.entries {
			return
		}
		c.depth--
	}
	c.done = true
}

// leaveEmpty leaves the leaf if all its entries were visited.
func (c *cursor) leaveEmpty() {
	if l := c.top(); l.i == l.entries {
		c.depth--
		c.next()
	}
}

// ofHeight returns the entered node of that height, nil if there is none.
func (c *cursor) ofHeight(height int) *level {
	if i := c.height - height; i >= 0 && i < c.depth {
		return &c.levels[i]
	}
	return nil
}

// enter reads the node at the position and moves to its first child or entry.
func (c *cursor) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := c.at()
	n, err := c.load(p)
	if err != nil {
		return err
	}
	if n.leaf != (p.depth == c.height-1) {
		return errUneven(n, p.depth, c.height-1)
	}
	l := &c.levels[p.depth]
	l.node, l.place, l.i = n, p, 0
	l.ahead, l.aheadFree = append(l.ahead[:0], make([][]byte, n.entries)...), l.aheadBuf
	c.depth++
	if n.entries == 0 {
		c.depth, c.done = 0, true
	}
	return nil
}

func (c *cursor) load(p place) (node, error) {
	if c.depth > 0 {
		if b := c.top().ahead[c.top().i]; b != nil {
			return c.parse(p, b)
		}
	}
	return c.loadAlone(p)
}

func (c *cursor) loadAlone(p place) (node, error) {
	if err := c.reachable(p); err != nil {
		return node{}, err
	}
	l := &c.levels[p.depth]
	if l.ownBlock == p.block {
		return c.parse(p, l.own)
	}
	if l.own == nil {
		l.own = newBlock()
	}
	l.ownBlock = 0
	n, err := c.read(p, l.own)
	if err == nil {
		l.ownBlock = p.block
	}
	return n, err
}

// measureHeight finds the tree's height on the way to its first leaf. It stops at a node that
// other, which was measured before, found on its way. The nodes that it reads stay where enter
// finds them.
func (c *cursor) measureHeight(other *cursor) error {
	for p := c.root; ; {
		for depth := range other.height {
			if other.levels[depth].ownBlock == p.block {
				c.height = p.depth + other.height - depth
				return nil
			}
		}
		n, err := c.loadAlone(p)
		if err != nil {
			return err
		}
		if n.leaf {
			c.height = p.depth + 1
			return nil
		}
		p = p.child(n, 0)
	}
}

// readAhead reads the children of l, from the position on, for which wanted returns true.
func (c *cursor) readAhead(ctx context.Context, l *level, wanted func(place) bool) {
	var which []int
	var blocks []uint32
	for i := l.i; i < l.entries; i++ {
		p := l.place.child(l.node, i)
		if l.ahead[i] == nil && c.levels[p.depth].ownBlock != p.block && c.reachable(p) == nil && wanted(p) {
			which, blocks = append(which, i), append(blocks, uint32(p.block))
		}
	}
	if len(blocks) < 2 {
		return
	}
	need := len(blocks) * blockSize
	if len(l.aheadFree) < need {
		l.aheadBuf = aligned(l.entries * blockSize)
		l.aheadFree = l.aheadBuf
	}
	loaded := make([][]byte, len(blocks))
	readSparse(ctx, c.r, blocks, l.aheadFree[:need], loaded)
	l.aheadFree = l.aheadFree[need:]
	for k, i := range which {
		l.ahead[i] = loaded[k]
	}
}

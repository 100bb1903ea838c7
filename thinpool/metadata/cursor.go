package metadata

import "context"

// cursor goes through one tree in the order of its keys, and stands at a node
// that was not read or at an entry of a leaf. It may pass over a node unread.
//
// It holds one node and the children of one node for each depth of the tree:
// 1 MiB times its height.
type cursor struct {
	tree
	root   place
	height int // of the whole tree, once measured; a leaf's is 1
	levels [maxDepth]level
	depth  int // the nodes that were entered, from the root down
	done   bool
}

// level is a node that the cursor is in.
type level struct {
	node
	place place
	i     int    // the child or entry that the cursor is at
	own   []byte // the buffer for a node that was read alone
	held  uint64 // the block in own

	ahead [][]byte // children that were read ahead, by index
	room  []byte   // what is left of the buffer for them
	buf   []byte
}

// top is the innermost node that was entered.
func (c *cursor) top() *level { return &c.levels[c.depth-1] }

// atEntry tells whether the cursor is at an entry, not at a node.
func (c *cursor) atEntry() bool { return c.depth > 0 && c.top().leaf }

// at is the node that the cursor is at.
func (c *cursor) at() place {
	if c.depth == 0 {
		return c.root
	}
	l := c.top()
	return l.place.child(l.node, l.i)
}

// above is the height of what the cursor is at, 0 for an entry.
func (c *cursor) above() int { return c.height - c.depth }

// low is the least key that may lie at the cursor.
func (c *cursor) low() uint64 {
	if c.depth == 0 {
		return c.root.allowed.low
	}
	l := c.top()
	return l.key(l.i)
}

// before tells whether all that the cursor is at comes before other.
func (c *cursor) before(other *cursor) bool {
	if c.atEntry() {
		return c.low() < other.low()
	}
	return c.at().allowed.below(other.low())
}

// next passes over what the cursor is at.
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

// settle leaves the leaf whose entries were all taken.
func (c *cursor) settle() {
	if l := c.top(); l.i == l.entries {
		c.depth--
		c.next()
	}
}

// ofHeight is the node of that height that the cursor is in, nil if there is
// none.
func (c *cursor) ofHeight(height int) *level {
	if i := c.height - height; i >= 0 && i < c.depth {
		return &c.levels[i]
	}
	return nil
}

// enter reads the node that the cursor is at and goes to its first child or
// entry.
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
		return uneven(n, p.depth, c.height-1)
	}
	l := &c.levels[p.depth]
	l.node, l.place, l.i = n, p, 0
	l.ahead, l.room = append(l.ahead[:0], make([][]byte, n.entries)...), l.buf
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
	return c.alone(p)
}

func (c *cursor) alone(p place) (node, error) {
	if err := c.reachable(p); err != nil {
		return node{}, err
	}
	l := &c.levels[p.depth]
	if l.held == p.block {
		return c.parse(p, l.own)
	}
	if l.own == nil {
		l.own = newBlock()
	}
	l.held = 0
	n, err := c.read(p, l.own)
	if err == nil {
		l.held = p.block
	}
	return n, err
}

// measure finds the tree's height on the way to its first leaf, or to a node
// that other, which was measured, met on its way. Nodes read stay where enter
// finds them.
func (c *cursor) measure(other *cursor) error {
	for p := c.root; ; {
		for depth := range other.height {
			if other.levels[depth].held == p.block {
				c.height = p.depth + other.height - depth
				return nil
			}
		}
		n, err := c.alone(p)
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

// readAhead reads those children of l, from where the cursor is in it, that
// wanted says will be entered.
func (c *cursor) readAhead(ctx context.Context, l *level, wanted func(place) bool) {
	var which []int
	var blocks []uint32
	for i := l.i; i < l.entries; i++ {
		p := l.place.child(l.node, i)
		if l.ahead[i] == nil && c.levels[p.depth].held != p.block && c.reachable(p) == nil && wanted(p) {
			which, blocks = append(which, i), append(blocks, uint32(p.block))
		}
	}
	if len(blocks) < 2 {
		return
	}
	need := len(blocks) * blockSize
	if len(l.room) < need {
		l.buf = aligned(l.entries * blockSize)
		l.room = l.buf
	}
	loaded := make([][]byte, len(blocks))
	fetch(ctx, c.r, blocks, l.room[:need], loaded)
	l.room = l.room[need:]
	for k, i := range which {
		l.ahead[i] = loaded[k]
	}
}

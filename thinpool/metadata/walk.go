package metadata

import (
	"context"
)

// walker visits the leaves of one btree in the order of their keys. One goroutine reads
// internal nodes, and the leaves below one node at a time; the caller's goroutine checks and
// visits these leaves.
//
// It holds at most aheadBuffers times the leaves below one node: 3 MiB.
type walker struct {
	tree
	leaf  func(node) error // must not keep the node
	spare []*siblings      // buffers of a previous walk
}

const aheadBuffers = 3 // one is read, one is full, one is visited

// siblings are the leaves below one node, read together.
type siblings struct {
	places []place
	loaded [][]byte
	buf    []byte
	err    error // the error after these leaves
}

func (w *walker) walk(ctx context.Context, root place) error {
	ctx, cancel := context.WithCancel(ctx)
	a := &prefetcher{tree: w.tree, ctx: ctx, leaves: -1, full: make(chan *siblings),
		free: make(chan *siblings, aheadBuffers)}
	for range aheadBuffers - len(w.spare) {
		w.spare = append(w.spare, &siblings{})
	}
	for _, b := range w.spare {
		a.free <- b
	}
	w.spare = w.spare[:0]
	go a.run(root)
	defer func() { // no goroutine reads r after walk has returned
		cancel()
		for range a.full {
		}
	}()
	single := newBlock()
	for b := range a.full {
		for i, p := range b.places {
			if err := w.check(p, b.loaded[i], single); err != nil {
				return err
			}
		}
		if b.err != nil {
			return b.err
		}
		a.free <- b
	}
	for len(a.free) > 0 {
		w.spare = append(w.spare, <-a.free)
	}
	return ctx.Err()
}

func (w *walker) check(p place, loaded, single []byte) (err error) {
	var n node
	if loaded != nil {
		n, err = w.parse(p, loaded)
	} else {
		n, err = w.read(p, single)
	}
	if err != nil {
		return err
	}
	if !n.leaf {
		return errUneven(n, p.depth, p.depth)
	}
	return w.leaf(n)
}

// prefetcher reads nodes ahead of a walker.
type prefetcher struct {
	tree
	ctx     context.Context
	leaves  int // depth of the leaves, -1 before the first
	full    chan *siblings
	free    chan *siblings
	parents [maxDepth][]byte // a buffer for each depth: a parent is needed after its child
}

func (a *prefetcher) run(root place) {
	defer close(a.full)
	if err := a.visit(root); err != nil {
		if b := a.nextFree(); b != nil {
			b.err = err
			_ = a.send(b) // fails if the walk has ended
		}
	}
}

func (a *prefetcher) visit(p place) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	if err := a.reachable(p); err != nil {
		return err
	}
	if a.parents[p.depth] == nil {
		a.parents[p.depth] = newBlock()
	}
	n, err := a.read(p, a.parents[p.depth])
	if err != nil {
		return err
	}
	if n.leaf {
		return a.sendFirstLeaf(n, p)
	}
	for i := range n.entries {
		if a.leaves == p.depth+1 {
			return a.sendLeaves(n, p, i)
		}
		if err := a.visit(p.child(n, i)); err != nil {
			return err
		}
	}
	return nil
}

// sendFirstLeaf sends the first leaf of the tree, which is read before the depth of the leaves
// is known.
func (a *prefetcher) sendFirstLeaf(n node, p place) error {
	if a.leaves >= 0 {
		return errUneven(n, p.depth, a.leaves)
	}
	a.leaves = p.depth
	b := a.nextFree()
	if b == nil {
		return a.ctx.Err()
	}
	b.places, b.loaded = append(b.places, p), append(b.loaded, n.b)
	a.parents[p.depth] = nil // the walker uses it now
	return a.send(b)
}

// sendLeaves reads and sends the leaves below n, from the i-th on.
func (a *prefetcher) sendLeaves(n node, p place, i int) error {
	b := a.nextFree()
	if b == nil {
		return a.ctx.Err()
	}
	var blocks []uint32
	var fault error // reported after the leaves before it
	for ; i < n.entries; i++ {
		child := p.child(n, i)
		if fault = a.reachable(child); fault != nil {
			break
		}
		b.places, blocks = append(b.places, child), append(blocks, uint32(child.block))
	}
	if need := len(blocks) * blockSize; len(b.buf) < need {
		b.buf = aligned(need)
	}
	b.loaded = append(b.loaded, make([][]byte, len(blocks))...)
	readSparse(a.ctx, a.r, blocks, b.buf, b.loaded)
	if err := a.send(b); err != nil {
		return err
	}
	return fault
}

// nextFree waits for a free buffer. It returns nil if the walk has ended.
func (a *prefetcher) nextFree() *siblings {
	select {
	case b := <-a.free:
		b.places, b.loaded, b.err = b.places[:0], b.loaded[:0], nil
		return b
	case <-a.ctx.Done():
		return nil
	}
}

func (a *prefetcher) send(b *siblings) error {
	select {
	case a.full <- b:
		return nil
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
}

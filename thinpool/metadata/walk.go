package metadata

import (
	"context"
)

// walker goes through the leaves of one btree in the order of their keys. One
// goroutine reads internal nodes, and the leaves below one of them at a time;
// the caller's checks and takes those that are there.
//
// It holds readAhead times the leaves below one node at most: 3 MiB.
type walker struct {
	tree
	leaf  func(node) error // must not keep the node
	spare []*siblings      // of a walk before
}

const readAhead = 3 // being read, waiting, and being taken

// siblings are leaves below one node, read together.
type siblings struct {
	places []place
	loaded [][]byte
	buf    []byte
	err    error // why there is no more after it
}

func (w *walker) walk(ctx context.Context, root place) error {
	ctx, cancel := context.WithCancel(ctx)
	a := &advance{tree: w.tree, ctx: ctx, leaves: -1, full: make(chan *siblings), free: make(chan *siblings, readAhead)}
	for range readAhead - len(w.spare) {
		w.spare = append(w.spare, &siblings{})
	}
	for _, b := range w.spare {
		a.free <- b
	}
	w.spare = w.spare[:0]
	go a.run(root)
	defer func() { // r is the caller's again once walk has returned
		cancel()
		for range a.full {
		}
	}()
	single := newBlock()
	for b := range a.full {
		for i, p := range b.places {
			if err := w.take(p, b.loaded[i], single); err != nil {
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

func (w *walker) take(p place, loaded, single []byte) (err error) {
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
		return uneven(n, p.depth, p.depth)
	}
	return w.leaf(n)
}

// advance reads ahead of a walker.
type advance struct {
	tree
	ctx    context.Context
	leaves int // their depth, -1 until the first is met
	full   chan *siblings
	free   chan *siblings
	above  [maxDepth][]byte // one for each depth, so that a parent outlives its child
}

func (a *advance) run(root place) {
	defer close(a.full)
	if err := a.visit(root); err != nil {
		if b := a.empty(); b != nil {
			b.err = err
			a.send(b)
		}
	}
}

func (a *advance) visit(p place) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	if err := a.reachable(p); err != nil {
		return err
	}
	if a.above[p.depth] == nil {
		a.above[p.depth] = newBlock()
	}
	n, err := a.read(p, a.above[p.depth])
	if err != nil {
		return err
	}
	if n.leaf {
		return a.first(n, p)
	}
	for i := range n.entries {
		if a.leaves == p.depth+1 {
			return a.below(n, p, i)
		}
		if err := a.visit(p.child(n, i)); err != nil {
			return err
		}
	}
	return nil
}

// first passes on a leaf that was not known to be one: there is one in a tree.
func (a *advance) first(n node, p place) error {
	if a.leaves >= 0 {
		return uneven(n, p.depth, a.leaves)
	}
	a.leaves = p.depth
	b := a.empty()
	if b == nil {
		return a.ctx.Err()
	}
	b.places, b.loaded = append(b.places, p), append(b.loaded, n.b)
	a.above[p.depth] = nil // the walker's now
	return a.send(b)
}

// below reads the leaves below n from the i-th on.
func (a *advance) below(n node, p place, i int) error {
	b := a.empty()
	if b == nil {
		return a.ctx.Err()
	}
	var blocks []uint32
	var fault error // comes after the leaves before it
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
	fetch(a.ctx, a.r, blocks, b.buf, b.loaded)
	if err := a.send(b); err != nil {
		return err
	}
	return fault
}

// empty waits for a siblings to fill, nil where the walk has ended.
func (a *advance) empty() *siblings {
	select {
	case b := <-a.free:
		b.places, b.loaded, b.err = b.places[:0], b.loaded[:0], nil
		return b
	case <-a.ctx.Done():
		return nil
	}
}

func (a *advance) send(b *siblings) error {
	select {
	case a.full <- b:
		return nil
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
}

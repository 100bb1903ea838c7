package metadata

import (
	"context"
	"fmt"
	"io"
)

// DeltaKind is the result of comparing one virtual block of two thin devices.
type DeltaKind int

// The kinds of differences.
const (
	Same      DeltaKind = iota // mapped to the same data block
	Different                  // mapped to different data blocks
	LeftOnly                   // mapped in the left device only
	RightOnly                  // mapped in the right device only
)

// String returns the term of thin_delta.
func (k DeltaKind) String() string {
	switch k {
	case Same:
		return "same"
	case Different:
		return "different"
	case LeftOnly:
		return "left_only"
	case RightOnly:
		return "right_only"
	}
	return fmt.Sprintf("kind %d", int(k))
}

// Difference is a run of virtual blocks of one kind.
type Difference struct {
	Kind            DeltaKind
	Virtual, Blocks uint64
	// Left and Right are the data blocks of the first virtual block, or 0 on a side that does
	// not map it.
	Left, Right uint64
}

// DeltaOptions are the options of Delta. The zero value is: only differences, in the longest
// runs.
type DeltaOptions struct {
	// Same includes the blocks that are the same. All nodes of both devices are then read once;
	// without it, shared nodes are not read.
	Same bool
	// Data ends a run if the data blocks of a side are not consecutive, so that Left and Right
	// determine the data blocks of the whole run.
	Data bool
}

// Delta calls visit with the differences between the mappings of two thin devices, ordered by
// virtual block. The runs are those of thin_delta: the data blocks are compared, not the times.
// An error of visit ends it. ErrNoDevice.
//
// Delta skips subtrees that both devices share, so the number of reads depends on the
// differences and not on the size of the devices. This requires that both devices are under one
// root: a held root, or the superblock of an inactive pool. Several goroutines read r
// concurrently. Delta holds at most 2 MiB for each level of the trees.
func Delta(ctx context.Context, r io.ReaderAt, root Superblock, left, right uint32, o DeltaOptions,
	visit func(Difference) error) error {
	t, leftRoot, err := mappingTreeOf(r, root, left)
	if err != nil {
		return err
	}
	_, rightRoot, err := mappingTreeOf(r, root, right)
	if err != nil {
		return err
	}
	d := &delta{ctx: ctx, options: o, out: differenceJoiner{visit: visit, data: o.Data},
		left:  cursor{tree: t, root: place{block: leftRoot}},
		right: cursor{tree: t, root: place{block: rightRoot}}}
	d.whole = walker{tree: t, leaf: d.same}
	err = d.run()
	if err != nil && !d.out.stopped {
		return fmt.Errorf("compare mappings of thin devices %d and %d at blocks %d and %d: %w", left, right, leftRoot,
			rightRoot, err)
	}
	return err
}

type delta struct {
	ctx         context.Context
	options     DeltaOptions
	left, right cursor
	whole       walker // for subtrees that both devices share
	out         differenceJoiner
}

func (d *delta) run() error {
	if d.left.root.block != d.right.root.block {
		if err := d.left.measureHeight(&d.right); err != nil {
			return err
		}
		if err := d.right.measureHeight(&d.left); err != nil {
			return err
		}
	}
	for !d.left.done || !d.right.done {
		if err := d.step(); err != nil {
			return err
		}
	}
	return d.out.flush()
}

// step moves the cursors forward. If one is behind the other, the part at its position is in
// one device only. Otherwise it enters the higher node, because the lower one may be below it.
// Of two nodes of the same height neither is below the other, and it enters the one that begins
// first.
func (d *delta) step() error {
	l, r := &d.left, &d.right
	switch {
	case r.done || (!l.done && l.before(r)):
		return d.only(l, r, LeftOnly)
	case l.done || r.before(l):
		return d.only(r, l, RightOnly)
	case l.atEntry() && r.atEntry():
		return d.merge()
	case !l.atEntry() && !r.atEntry() && l.at().block == r.at().block:
		return d.shared()
	case l.heightHere() > r.heightHere() || (l.heightHere() == r.heightHere() && l.low() <= r.low()):
		return d.enter(l, r)
	}
	return d.enter(r, l)
}

// only reports the part at c that comes before other.
func (d *delta) only(c, other *cursor, kind DeltaKind) error {
	if !c.atEntry() {
		return d.enter(c, other)
	}
	for n := c.top(); n.i < n.entries && (other.done || n.key(n.i) < other.low()); n.i++ {
		m := mapping(n.child(n.i)).data()
		one := Difference{Kind: kind, Virtual: n.key(n.i), Blocks: 1, Left: m}
		if kind == RightOnly {
			one.Left, one.Right = 0, m
		}
		if err := d.out.add(one); err != nil {
			return err
		}
	}
	c.leaveEmpty()
	return nil
}

// merge compares two leaves while their keys are equal.
func (d *delta) merge() error {
	l, r := d.left.top(), d.right.top()
	for l.i < l.entries && r.i < r.entries && l.key(l.i) == r.key(r.i) {
		one := Difference{Virtual: l.key(l.i), Blocks: 1, Left: mapping(l.child(l.i)).data(),
			Right: mapping(r.child(r.i)).data()}
		l.i++
		r.i++
		if one.Left != one.Right {
			one.Kind = Different
		} else if !d.options.Same {
			continue
		}
		if err := d.out.add(one); err != nil {
			return err
		}
	}
	d.left.leaveEmpty()
	d.right.leaveEmpty()
	return nil
}

// shared moves past a subtree that both devices have, and reports it with DeltaOptions.Same.
func (d *delta) shared() error {
	p := d.left.at()
	if l, r := d.left.heightHere(), d.right.heightHere(); l != r {
		return corrupt(p.block, "it is %d levels above the leaves of one tree and %d above those of the other", l, r)
	}
	if d.options.Same {
		if d.left.depth > 0 && d.left.heightHere() == 1 {
			n, err := d.left.load(p)
			if err == nil && !n.leaf {
				err = errUneven(n, p.depth, p.depth)
			}
			if err == nil {
				err = d.same(n)
			}
			if err != nil {
				return err
			}
		} else if err := d.whole.walk(d.ctx, p); err != nil {
			return err
		}
	}
	d.left.next()
	d.right.next()
	return nil
}

func (d *delta) same(n node) error {
	for i := range n.entries {
		data := mapping(n.child(i)).data()
		if err := d.out.add(Difference{Kind: Same, Virtual: n.key(i), Blocks: 1, Left: data, Right: data}); err != nil {
			return err
		}
	}
	return nil
}

// enter enters the node at c. It then reads ahead the nodes that will be entered for certain,
// in c's node and in other's node of the same height.
func (d *delta) enter(c, other *cursor) error {
	if err := c.enter(d.ctx); err != nil || c.done || c.atEntry() {
		return err
	}
	d.readAhead(c, other, c.top())
	if counterpart := other.ofHeight(c.heightHere() + 1); counterpart != nil {
		d.readAhead(other, c, counterpart)
	}
	return d.ctx.Err()
}

// readAhead reads children of l, a node that c has entered. A child will be entered for certain
// if its keys are before other's position, or if they are in the range of other's node of the
// same height, which does not have that child.
func (d *delta) readAhead(c, other *cursor, l *level) {
	height := c.height - l.place.depth
	counterpart := other.ofHeight(height)
	shared := map[uint64]struct{}{}
	if counterpart != nil {
		for i := range counterpart.entries {
			shared[counterpart.child(i)] = struct{}{}
		}
	}
	reported := d.options.Same && c == &d.left && height == 2 // shared leaves are then read on one side
	c.readAhead(d.ctx, l, func(p place) bool {
		if other.done || p.allowed.below(other.low()) {
			return true
		}
		if counterpart == nil || !p.allowed.within(counterpart.place.allowed) {
			return false
		}
		_, both := shared[p.block]
		return !both || reported
	})
}

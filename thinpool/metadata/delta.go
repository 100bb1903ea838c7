package metadata

import (
	"context"
	"fmt"
	"io"
)

// DeltaKind is what one virtual block is in two thin devices.
type DeltaKind int

const (
	Same      DeltaKind = iota // mapped to one data block
	Different                  // mapped to two
	LeftOnly                   // mapped in the left device only
	RightOnly                  // mapped in the right device only
)

// String is thin_delta's word.
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

// Difference is consecutive virtual blocks of one kind.
type Difference struct {
	Kind            DeltaKind
	Virtual, Blocks uint64
	// Left and Right are the data blocks of the first virtual block, 0 on a
	// side that does not map it.
	Left, Right uint64
}

// DeltaOptions say what Delta tells. The zero value is what differs, in the
// longest ranges.
type DeltaOptions struct {
	// Same tells of what is the same as well, for which all that both map must
	// be read, though only once. Without it, what is shared is not even read.
	Same bool
	// Data ends a range where the data blocks of a side are not consecutive, so
	// that Left and Right tell where all of it lies.
	Data bool
}

// Delta calls visit with how the mappings of two thin devices differ, in the
// order of the virtual blocks. Ranges are those of thin_delta: the data block
// decides, not when it was written. What visit returns ends it. ErrNoDevice.
//
// Subtrees that both devices share are skipped, so what is read grows with the
// differences and not with the devices. This is only sound because both are
// under one root: a held root, or the superblock of a pool that is not active.
// r is read from several goroutines at once. At most 2 MiB for each level of the
// trees are held.
func Delta(ctx context.Context, r io.ReaderAt, root Superblock, left, right uint32, o DeltaOptions, visit func(Difference) error) error {
	t, leftRoot, err := mappings(r, root, left)
	if err != nil {
		return err
	}
	_, rightRoot, err := mappings(r, root, right)
	if err != nil {
		return err
	}
	d := &delta{ctx: ctx, options: o, out: differences{visit: visit, data: o.Data},
		left:  cursor{tree: t, root: place{block: leftRoot}},
		right: cursor{tree: t, root: place{block: rightRoot}}}
	d.whole = walker{tree: t, leaf: d.same}
	err = d.run()
	if err != nil && !d.out.stopped {
		return fmt.Errorf("comparing the mappings of thin devices %d and %d at blocks %d and %d: %w", left, right, leftRoot, rightRoot, err)
	}
	return err
}

type delta struct {
	ctx         context.Context
	options     DeltaOptions
	left, right cursor
	whole       walker // of subtrees that both have
	out         differences
}

func (d *delta) run() error {
	if d.left.root.block != d.right.root.block {
		if err := d.left.measure(&d.right); err != nil {
			return err
		}
		if err := d.right.measure(&d.left); err != nil {
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

// step brings the cursors forward. Where one is behind the other, what it is at
// is in one device only. Else the taller node is entered: the lower one may be
// below it. Of two nodes of one height neither is, so the one that begins first
// is entered.
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
	case l.above() > r.above() || (l.above() == r.above() && l.low() <= r.low()):
		return d.enter(l, r)
	}
	return d.enter(r, l)
}

// only takes what c has before other comes.
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
	c.settle()
	return nil
}

// merge takes the keys of two leaves that both have.
func (d *delta) merge() error {
	l, r := d.left.top(), d.right.top()
	for l.i < l.entries && r.i < r.entries && l.key(l.i) == r.key(r.i) {
		one := Difference{Virtual: l.key(l.i), Blocks: 1, Left: mapping(l.child(l.i)).data(), Right: mapping(r.child(r.i)).data()}
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
	d.left.settle()
	d.right.settle()
	return nil
}

// shared passes over a subtree that both have, and tells of it where that was
// asked for.
func (d *delta) shared() error {
	p := d.left.at()
	if l, r := d.left.above(), d.right.above(); l != r {
		return corrupt(p.block, "%d nodes above the leaves of one tree, %d above those of the other", l, r)
	}
	if d.options.Same {
		if d.left.depth > 0 && d.left.above() == 1 {
			n, err := d.left.load(p)
			if err == nil && !n.leaf {
				err = uneven(n, p.depth, p.depth)
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

// enter enters the node that c is at, and reads ahead what is then sure to be
// entered, of c's and of the other's node of the same height.
func (d *delta) enter(c, other *cursor) error {
	if err := c.enter(d.ctx); err != nil || c.done || c.atEntry() {
		return err
	}
	d.readAhead(c, other, c.top())
	if counterpart := other.ofHeight(c.above() + 1); counterpart != nil {
		d.readAhead(other, c, counterpart)
	}
	return d.ctx.Err()
}

// readAhead works on l, a node that c is in. A child is sure to be entered if it
// comes before all that other still has, or if its keys are among those of
// other's node of the same height, which does not have that child too.
func (d *delta) readAhead(c, other *cursor, l *level) {
	height := c.height - l.place.depth
	counterpart := other.ofHeight(height)
	shared := map[uint64]struct{}{}
	if counterpart != nil {
		for i := range counterpart.entries {
			shared[counterpart.child(i)] = struct{}{}
		}
	}
	tell := d.options.Same && c == &d.left && height == 2 // shared leaves are read then, on one side
	c.readAhead(d.ctx, l, func(p place) bool {
		if other.done || p.allowed.below(other.low()) {
			return true
		}
		if counterpart == nil || !p.allowed.within(counterpart.place.allowed) {
			return false
		}
		_, both := shared[p.block]
		return !both || tell
	})
}

package metadata

import (
	"encoding/binary"
	"errors"
	"io"
)

// definition holds mappings that devices refer to: leaves to share or, if there are too few for
// a leaf that is not a root, the mappings.
type definition struct {
	first, last uint64 // virtual blocks; not valid if empty
	empty       bool
	few         []uint64 // keys
	values      []byte
	leaves      []Subtree
}

func (r *restorer) name(t *tag) (string, error) {
	if t.n != 1 || string(t.attributes[0].name) != "name" || len(t.attributes[0].value) == 0 {
		return "", r.s.errorf("<%s> must have the attribute name and no other", t.name)
	}
	return string(t.attributes[0].value), nil
}

func (r *restorer) beginDef(t *tag) error {
	name, err := r.name(t)
	if err != nil {
		return err
	}
	if r.defs[name] != nil {
		return r.s.errorf("<def> %q appears twice", name)
	}
	r.def = &definition{}
	r.defs[name] = r.def
	r.beginTree()
	return nil
}

func (r *restorer) endDef() error {
	d, l := r.def, r.tree
	if len(l.leaves) == 0 && len(l.keys) < mappingMin {
		d.empty = len(l.keys) == 0
		d.few, d.values = l.keys, l.values
		if !d.empty {
			d.first, d.last = l.keys[0], l.keys[len(l.keys)-1]
		}
		return nil
	}
	if err := l.flush(); err != nil {
		return err
	}
	d.leaves = l.leaves
	d.first, d.last = d.leaves[0].first, d.leaves[len(d.leaves)-1].last
	for _, leaf := range d.leaves {
		r.unused[leaf.block] = leaf
	}
	return nil
}

func (r *restorer) ref(t *tag) error {
	name, err := r.name(t)
	if err != nil {
		return err
	}
	d, l := r.defs[name], r.tree
	switch {
	case d == nil:
		return r.s.errorf("<ref> to %q has no <def> before it", name)
	case d.empty:
		return nil
	case r.full || d.first < r.virtual:
		return r.s.errorf("%q begins at virtual block %d, which is not after the mappings before it", name, d.first)
	}
	r.virtual = d.last + 1
	r.full = r.virtual == 0
	leaves := d.leaves
	if len(l.keys) > 0 && len(l.keys) < mappingMin && len(leaves) > 0 && !r.b.out.full() {
		// The pending mappings are too few for a leaf: the first leaf of the
		// definition is not shared.
		if err := r.unpack(leaves[0]); err != nil {
			return err
		}
		leaves = leaves[1:]
	}
	for i, key := range d.few {
		if err := l.addMapping(key, binary.LittleEndian.Uint64(d.values[8*i:])); err != nil {
			return err
		}
	}
	if len(leaves) > 0 {
		if err := l.flush(); err != nil {
			return err
		}
		l.leaves = append(l.leaves, leaves...)
	}
	return nil
}

// endTree writes the pending mappings and the nodes above the leaves. If too few mappings for a
// leaf are pending, the last leaf, which is shared, is copied and joined with them.
func (r *restorer) endTree() (Subtree, error) {
	l := r.tree
	if n := len(l.leaves); n > 0 && len(l.keys) > 0 && len(l.keys) < mappingMin && !r.b.out.full() {
		keys, values := l.keys, l.values
		last := l.leaves[n-1]
		l.keys, l.values, l.leaves = nil, nil, l.leaves[:n-1]
		if err := r.unpack(last); err != nil {
			return Subtree{}, err
		}
		l.keys, l.values = append(l.keys, keys...), append(l.values, values...)
	}
	root, err := l.root()
	for _, leaf := range l.leaves {
		if len(r.unused) == 0 {
			break
		}
		delete(r.unused, leaf.block)
	}
	return root, err
}

// unpack adds the mappings of a leaf that was written.
func (r *restorer) unpack(leaf Subtree) error {
	n, err := r.readBack(leaf)
	if err != nil {
		return err
	}
	for i := range n.entries {
		if err := r.tree.addMapping(n.key(i), n.child(i)); err != nil {
			return err
		}
	}
	return nil
}

func (r *restorer) readBack(leaf Subtree) (node, error) {
	from, ok := r.w.(io.ReaderAt)
	if !ok {
		return node{}, errors.New("the XML has <def>, for which the target must be readable")
	}
	if err := r.b.out.flush(); err != nil {
		return node{}, err
	}
	b := newBlock()
	if err := readBlock(from, leaf.block, b); err != nil {
		return node{}, err
	}
	return parseNode(b, leaf.block, 8)
}

// dropUnused drops the leaves of definitions that no device refers to.
func (r *restorer) dropUnused() error {
	for block, leaf := range r.unused {
		if r.b.out.full() {
			return nil
		}
		n, err := r.readBack(leaf)
		if err != nil {
			return err
		}
		for i := range n.entries {
			r.b.data.sub(n.child(i) >> 24)
		}
		r.b.dropped++
		delete(r.unused, block)
	}
	return nil
}

package metadata

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
)

// patient is damaged metadata and what was rebuilt of it.
type patient struct {
	*checker
	b     *Builder
	sound []bool    // vertices whose subtree may be taken as it is
	done  []Subtree // what became of a vertex
	// plans are for roots that are not.
	plans map[uint32][]piece
}

// piece is a leaf of a damaged device: as it is, or to be put together anew
// with its neighbours.
type piece struct {
	leaf  uint32
	loose bool
	kept  int // mappings
}

func (p *patient) rebuild(ctx context.Context) ([]RepairedDevice, error) {
	p.judge()
	p.distinct()
	used, err := p.plan()
	if err != nil {
		return nil, err
	}
	if err := p.copyLeaves(ctx, used); err != nil {
		return nil, err
	}
	details := map[uint32]Device{}
	for _, d := range p.m.details {
		details[d.ID] = d
	}
	var devices []RepairedDevice
	for _, root := range p.m.roots {
		d, has := details[root.id]
		delete(details, root.id)
		if root.root == 0 && !has {
			continue
		}
		tree, err := p.tree(root)
		if err != nil {
			return nil, fmt.Errorf("device %d: %w", root.id, err)
		}
		one := RepairedDevice{ID: root.id, Kept: tree.Mapped(), NoDetails: !has}
		if one.Lost = d.MappedBlocks - min(d.MappedBlocks, one.Kept); !has {
			s := p.m.superblock
			d = Device{ID: root.id, TransactionID: s.TransactionID, CreationTime: s.Time, SnapshottedTime: s.Time}
		}
		d.CreationTime, d.SnapshottedTime = min(d.CreationTime, p.b.o.Time), min(d.SnapshottedTime, p.b.o.Time)
		if err := p.b.Device(d, tree); err != nil {
			return nil, err
		}
		devices = append(devices, one)
	}
	for _, d := range p.m.details {
		if _, gone := details[d.ID]; gone {
			devices = append(devices, RepairedDevice{ID: d.ID, Lost: d.MappedBlocks, Gone: true})
		}
	}
	slices.SortFunc(devices, func(a, b RepairedDevice) int { return cmp.Compare(a.ID, b.ID) })
	return devices, nil
}

// distinct leaves one root to each id, if it can one that a sound leaf names.
func (p *patient) distinct() {
	roots := map[uint32]deviceRoot{}
	for _, r := range p.m.roots {
		if has, twice := roots[r.id]; !twice || has.doubtful && !r.doubtful {
			roots[r.id] = r
		}
	}
	p.m.roots = slices.SortedFunc(maps.Values(roots), func(a, b deviceRoot) int { return cmp.Compare(a.id, b.id) })
}

// judge finds the vertices all of whose subtree is as it should be.
func (p *patient) judge() {
	g := p.m.graph
	p.sound = make([]bool, len(g.vertices))
	for _, number := range slices.Backward(p.m.order) {
		v := &g.vertices[number]
		if v.tree != mappingTree || v.broken || v.flawed || v.child && v.lean || v.entries == 0 && !v.leaf {
			continue
		}
		sound := true
		for _, child := range g.below(v) {
			sound = sound && child != 0 && p.sound[child]
		}
		p.sound[number] = sound
	}
}

// plan decides for each device what becomes of its leaves, and tells which are
// copied as they are.
func (p *patient) plan() (used []bool, err error) {
	g := p.m.graph
	used, p.plans = make([]bool, len(g.vertices)), map[uint32][]piece{}
	for _, root := range p.m.roots {
		if root.root != 0 && p.sound[root.root] {
			used[root.root] = true
			continue
		}
		if _, planned := p.plans[root.root]; planned {
			continue
		}
		pieces, err := p.pieces(root.root)
		if err != nil {
			return nil, fmt.Errorf("device %d: %w", root.id, err)
		}
		p.plans[root.root] = pieces
		for _, one := range pieces {
			used[one.leaf] = used[one.leaf] || !one.loose
		}
	}
	for _, number := range p.m.order {
		if v := &g.vertices[number]; used[number] && v.tree == mappingTree {
			for _, child := range g.below(v) {
				used[child] = true
			}
		}
	}
	return used, nil
}

// pieces lists what can be reached of a damaged device. Where loose leaves do
// not fill one together, a whole neighbour is put together with them.
func (p *patient) pieces(root uint32) ([]piece, error) {
	var pieces []piece
	next := uint64(0) // the least virtual block that is not mapped yet
	for number, v := range p.m.graph.leavesUnder(root) {
		one := piece{leaf: number, kept: int(v.entries), loose: !p.sound[number] || v.lean || v.first < next}
		switch {
		case v.entries == 0:
			continue
		case one.loose:
			mappings, err := p.reread(number, next)
			if err != nil {
				return nil, err
			}
			if one.kept = len(mappings); one.kept > 0 {
				next = mappings[one.kept-1].Virtual + 1
			}
		default:
			next = v.last + 1
		}
		pieces = append(pieces, one)
	}
	for i := 0; i < len(pieces); i++ {
		if !pieces[i].loose {
			continue
		}
		first, kept := i, 0
		for ; i < len(pieces) && (pieces[i].loose || kept < nodeMin(8)); i++ {
			pieces[i].loose = true
			kept += pieces[i].kept
		}
		if kept < nodeMin(8) && first > 0 {
			pieces[first-1].loose = true // a whole one, or it would be of this run
		}
	}
	return pieces, nil
}

// copyLeaves rebuilds the leaves that are used as they are, in the order of
// their places.
func (p *patient) copyLeaves(ctx context.Context, used []bool) error {
	leaves, blocks := p.m.leaves(func(n uint32, v *vertex) bool { return used[n] && v.entries > 0 })
	return p.m.graph.fetch.each(ctx, blocks, func(_, i int, b []byte, err error) error {
		n, err := p.m.reread(leaves[i], b, err)
		if err != nil {
			return err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.done[leaves[i]], err = p.b.Leaf(mappingsOf(n))
		return err
	})
}

func mappingsOf(n node) []Mapping {
	mappings := make([]Mapping, n.entries)
	for i := range mappings {
		packed := n.child(i)
		mappings[i] = Mapping{Virtual: n.key(i), Data: packed >> timeBits, Time: uint32(packed & maxTime)}
	}
	return mappings
}

// tree makes a device's tree.
func (p *patient) tree(root deviceRoot) (Subtree, error) {
	pieces, damaged := p.plans[root.root]
	if !damaged {
		return p.same(root.root)
	}
	if p.done[root.root].height > 0 {
		return p.done[root.root], nil
	}
	tree, err := p.mend(pieces)
	p.done[root.root] = tree
	return tree, err
}

// same rebuilds a sound subtree as it was. Its height is that of the format, so
// the recursion is shallow.
func (p *patient) same(number uint32) (Subtree, error) {
	v := &p.m.graph.vertices[number]
	if p.done[number].height > 0 {
		return p.done[number], nil
	}
	if v.entries == 0 {
		return p.b.Tree(nil)
	}
	var children []Subtree
	for _, child := range p.m.graph.below(v) {
		s, err := p.same(child)
		if err != nil {
			return Subtree{}, err
		}
		children = append(children, s)
	}
	s, err := p.b.Node(children)
	p.done[number] = s
	return s, err
}

// mend makes a tree of what is left of one.
func (p *patient) mend(pieces []piece) (Subtree, error) {
	var leaves []Subtree
	var loose []Mapping
	flush := func() error {
		made, err := p.leaves(loose)
		leaves, loose = append(leaves, made...), loose[:0]
		return err
	}
	next := uint64(0) // the least virtual block that is not mapped yet
	for _, one := range pieces {
		if !one.loose {
			if err := flush(); err != nil {
				return Subtree{}, err
			}
			leaves = append(leaves, p.done[one.leaf])
			next = p.m.graph.vertices[one.leaf].last + 1
			continue
		}
		mappings, err := p.reread(one.leaf, next)
		if err != nil {
			return Subtree{}, err
		}
		if loose = append(loose, mappings...); len(mappings) > 0 {
			next = mappings[len(mappings)-1].Virtual + 1
		}
	}
	if err := flush(); err != nil {
		return Subtree{}, err
	}
	return p.b.Tree(leaves)
}

// reread returns what can be kept of a leaf: mappings to data blocks that there
// are, of virtual blocks from next on.
func (p *patient) reread(leaf uint32, next uint64) ([]Mapping, error) {
	block, b := uint64(p.m.graph.vertices[leaf].block), newBlock()
	if err := readBlock(p.m.graph.fetch.r, block, b); err != nil {
		return nil, err
	}
	n, err := p.m.reread(leaf, b, nil)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(mappingsOf(n), func(m Mapping) bool {
		return m.Data >= p.m.options.DataBlocks || m.Virtual < next
	}), nil
}

// leaves writes mappings as leaves that are alike in size.
func (p *patient) leaves(mappings []Mapping) (leaves []Subtree, err error) {
	for n := (len(mappings) + mappingMax - 1) / mappingMax; n > 0; n-- {
		size := len(mappings) / n
		leaf, err := p.b.Leaf(mappings[:size])
		if err != nil {
			return nil, err
		}
		leaves, mappings = append(leaves, leaf), mappings[size:]
	}
	return leaves, nil
}

package metadata

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
)

// rebuilder builds sound metadata from damaged metadata.
type rebuilder struct {
	*checker
	b     *Builder
	sound []bool    // vertices whose subtree can be copied
	built []Subtree // by vertex, the new subtree
	// plans holds the leaves under each root that is not sound.
	plans map[uint32][]piece
}

// piece is a leaf of a damaged device. It is copied, or its mappings are packed into new leaves
// together with those of its neighbours.
type piece struct {
	leaf   uint32
	repack bool
	kept   int // mappings
}

func (p *rebuilder) rebuild(ctx context.Context) ([]RepairedDevice, error) {
	p.findSound()
	p.dropDuplicateRoots()
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
		tree, err := p.deviceTree(root)
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

// dropDuplicateRoots keeps one root for each id, if possible one from a sound leaf.
func (p *rebuilder) dropDuplicateRoots() {
	roots := map[uint32]deviceRoot{}
	for _, r := range p.m.roots {
		if has, twice := roots[r.id]; !twice || has.doubtful && !r.doubtful {
			roots[r.id] = r
		}
	}
	p.m.roots = slices.SortedFunc(maps.Values(roots), func(a, b deviceRoot) int { return cmp.Compare(a.id, b.id) })
}

// findSound finds the vertices whose whole subtree is sound.
func (p *rebuilder) findSound() {
	g := p.m.graph
	p.sound = make([]bool, len(g.vertices))
	for _, number := range slices.Backward(p.m.order) {
		v := &g.vertices[number]
		if v.tree != mappingTree || v.broken || v.flawed || v.hasParent && v.underfull || v.entries == 0 && !v.leaf {
			continue
		}
		sound := true
		for _, child := range g.children(v) {
			sound = sound && child != 0 && p.sound[child]
		}
		p.sound[number] = sound
	}
}

// plan decides for each device which of its leaves are copied, and returns the vertices that
// are.
func (p *rebuilder) plan() (used []bool, err error) {
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
			used[one.leaf] = used[one.leaf] || !one.repack
		}
	}
	for _, number := range p.m.order {
		if v := &g.vertices[number]; used[number] && v.tree == mappingTree {
			for _, child := range g.children(v) {
				used[child] = true
			}
		}
	}
	return used, nil
}

// pieces returns the readable leaves of a damaged device. If leaves to repack have too few
// mappings for one leaf, a sound neighbour is repacked too.
func (p *rebuilder) pieces(root uint32) ([]piece, error) {
	var pieces []piece
	next := uint64(0) // the lowest virtual block that is not mapped so far
	for number, v := range p.m.graph.leavesUnder(root) {
		one := piece{leaf: number, kept: int(v.entries), repack: !p.sound[number] || v.underfull || v.first < next}
		switch {
		case v.entries == 0:
			continue
		case one.repack:
			mappings, err := p.salvage(number, next)
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
		if !pieces[i].repack {
			continue
		}
		first, kept := i, 0
		for ; i < len(pieces) && (pieces[i].repack || kept < nodeMin(8)); i++ {
			pieces[i].repack = true
			kept += pieces[i].kept
		}
		if kept < nodeMin(8) && first > 0 {
			pieces[first-1].repack = true // a sound one, otherwise it would be in this run
		}
	}
	return pieces, nil
}

// copyLeaves writes the leaves that are copied, in the order of their old blocks.
func (p *rebuilder) copyLeaves(ctx context.Context, used []bool) error {
	leaves, blocks := p.m.leaves(func(n uint32, v *vertex) bool { return used[n] && v.entries > 0 })
	return p.m.graph.reader.each(ctx, blocks, func(_, i int, b []byte, err error) error {
		n, err := p.m.reread(leaves[i], b, err)
		if err != nil {
			return err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.built[leaves[i]], err = p.b.Leaf(mappingsOf(n))
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

// deviceTree returns the new tree of a device.
func (p *rebuilder) deviceTree(root deviceRoot) (Subtree, error) {
	pieces, damaged := p.plans[root.root]
	if !damaged {
		return p.buildSame(root.root)
	}
	if p.built[root.root].height > 0 {
		return p.built[root.root], nil
	}
	tree, err := p.buildDamaged(pieces)
	p.built[root.root] = tree
	return tree, err
}

// buildSame builds a sound subtree with the same nodes. The recursion is not deep because the
// height of a sound tree is limited.
func (p *rebuilder) buildSame(number uint32) (Subtree, error) {
	v := &p.m.graph.vertices[number]
	if p.built[number].height > 0 {
		return p.built[number], nil
	}
	if v.entries == 0 {
		return p.b.Tree(nil)
	}
	var children []Subtree
	for _, child := range p.m.graph.children(v) {
		s, err := p.buildSame(child)
		if err != nil {
			return Subtree{}, err
		}
		children = append(children, s)
	}
	s, err := p.b.Node(children)
	p.built[number] = s
	return s, err
}

// buildDamaged builds a tree from the readable leaves of a damaged one.
func (p *rebuilder) buildDamaged(pieces []piece) (Subtree, error) {
	var leaves []Subtree
	var loose []Mapping
	flush := func() error {
		made, err := p.writeLeaves(loose)
		leaves, loose = append(leaves, made...), loose[:0]
		return err
	}
	next := uint64(0) // the lowest virtual block that is not mapped so far
	for _, one := range pieces {
		if !one.repack {
			if err := flush(); err != nil {
				return Subtree{}, err
			}
			leaves = append(leaves, p.built[one.leaf])
			next = p.m.graph.vertices[one.leaf].last + 1
			continue
		}
		mappings, err := p.salvage(one.leaf, next)
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

// salvage returns the mappings of a leaf that can be kept: to data blocks that exist, of
// virtual blocks from next on.
func (p *rebuilder) salvage(leaf uint32, next uint64) ([]Mapping, error) {
	block, b := uint64(p.m.graph.vertices[leaf].block), newBlock()
	if err := readBlock(p.m.graph.reader.r, block, b); err != nil {
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

// writeLeaves writes mappings as leaves of similar size.
func (p *rebuilder) writeLeaves(mappings []Mapping) (leaves []Subtree, err error) {
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

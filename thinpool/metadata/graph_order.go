package metadata

import "fmt"

// settle brings the vertices into an order in which each stands after all that
// point at it, and checks what only the whole shows: no circle, keys within
// what every parent allows, leaves of one tree equally deep. It returns the
// order.
func (g *graph) settle() ([]uint32, error) {
	order, waiting := g.sort()
	if len(order) < len(g.vertices)-1 {
		// What is only below a circle, and perhaps in other trees too, is sound.
		for _, n := range g.circular(waiting) {
			v := &g.vertices[n]
			v.broken = true
			if err := g.fault(CodeCircle, v, corrupt(uint64(v.block), "a circle of pointers in %s comes through", v.tree)); err != nil {
				return nil, err
			}
		}
		order, _ = g.sort()
	}
	for _, n := range order {
		v := &g.vertices[n]
		if below := g.below(v); len(below) > 0 && !v.leaf {
			c := &g.vertices[below[len(below)-1]] // the last child goes as far as v may
			c.high = min(c.high, v.high)
		}
	}
	for i := len(order) - 1; i >= 0; i-- {
		v := &g.vertices[order[i]]
		if code, err := g.fits(v); err != nil {
			if err := g.fault(code, v, err); err != nil {
				return nil, err
			}
		}
	}
	return order, nil
}

// sort orders the vertices, and returns for each how many pointers it still
// waits for: some where there is a circle above it.
func (g *graph) sort() (order, waiting []uint32) {
	waiting = make([]uint32, len(g.vertices))
	for n := range g.vertices {
		for _, child := range g.below(&g.vertices[n]) {
			waiting[child]++
		}
	}
	order = make([]uint32, 0, len(g.vertices)-1)
	for n := 1; n < len(g.vertices); n++ {
		if waiting[n] == 0 { // only a superblock points at it
			order = append(order, uint32(n))
		}
	}
	for i := 0; i < len(order); i++ {
		for _, child := range g.below(&g.vertices[order[i]]) {
			if child == 0 {
				continue
			}
			if waiting[child]--; waiting[child] == 0 {
				order = append(order, child)
			}
		}
	}
	return order, waiting
}

// circular lists, of the vertices that still wait, those that lead to a circle.
func (g *graph) circular(waiting []uint32) (circular []uint32) {
	leads, above := make([]uint32, len(g.vertices)), make([][]uint32, len(g.vertices))
	var done []uint32
	for n := 1; n < len(g.vertices); n++ {
		if waiting[n] == 0 {
			continue
		}
		for _, child := range g.below(&g.vertices[n]) {
			if child != 0 { // what a waiting one points at waits too
				leads[n]++
				above[child] = append(above[child], uint32(n))
			}
		}
		if leads[n] == 0 {
			done = append(done, uint32(n))
		}
	}
	for len(done) > 0 {
		n := done[len(done)-1]
		done = done[:len(done)-1]
		for _, parent := range above[n] {
			if leads[parent]--; leads[parent] == 0 {
				done = append(done, parent)
			}
		}
	}
	for n := range leads {
		if leads[n] > 0 {
			circular = append(circular, uint32(n))
		}
	}
	return circular
}

// fits tells whether v may stand where it is pointed at, all below it being
// settled, and sets its height.
func (g *graph) fits(v *vertex) (Code, error) {
	if v.broken {
		return "", nil // said before
	}
	if v.entries == 0 {
		if v.leaf && !v.child {
			return "", nil // an empty tree
		}
		return CodeNode, corrupt(uint64(v.block), "an empty node inside %s", v.tree)
	}
	if v.first < v.low {
		return CodeKeys, corrupt(uint64(v.block), "key %d under a parent's key %d in %s", v.first, v.low, v.tree)
	}
	if v.last >= v.high && v.high != ^uint64(0) {
		return CodeKeys, corrupt(uint64(v.block), "key %d reaches a parent's next key %d in %s", v.last, v.high, v.tree)
	}
	if v.leaf {
		return "", nil
	}
	for _, child := range g.below(v) {
		c := &g.vertices[child]
		if child == 0 || c.broken {
			continue
		}
		if v.height == 0 {
			v.height = c.height + 1
		}
		if v.height != c.height+1 {
			return CodeBalance, corrupt(uint64(v.block), "leaves of %s at %d and at %d nodes below", v.tree, v.height, c.height+1)
		}
	}
	if v.height >= maxDepth {
		return CodeBalance, fmt.Errorf("in %s: %w", v.tree, corrupt(uint64(v.block), "deeper than %d nodes", maxDepth))
	}
	return "", nil
}

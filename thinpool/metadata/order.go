package metadata

import "fmt"

// settle brings the vertices into an order in which each stands after all that
// point at it, and checks what only the whole shows: no circle, keys within
// what every parent allows, leaves of one tree equally deep. It returns the
// order.
func (g *graph) settle() ([]uint32, error) {
	waiting := make([]uint32, len(g.vertices))
	for n := range g.vertices {
		for _, child := range g.below(&g.vertices[n]) {
			waiting[child]++
		}
	}
	order := make([]uint32, 0, len(g.vertices)-1)
	for n := 1; n < len(g.vertices); n++ {
		if waiting[n] == 0 { // only a superblock points at it
			order = append(order, uint32(n))
		}
	}
	for i := 0; i < len(order); i++ {
		v := &g.vertices[order[i]]
		below := g.below(v)
		for j, child := range below {
			if child == 0 {
				continue
			}
			if j == len(below)-1 && !v.leaf {
				c := &g.vertices[child] // the last child goes as far as v may
				c.high = min(c.high, v.high)
			}
			if waiting[child]--; waiting[child] == 0 {
				order = append(order, child)
			}
		}
	}
	if len(order) < len(g.vertices)-1 {
		for n := 1; n < len(g.vertices); n++ {
			if v := &g.vertices[n]; waiting[n] > 0 {
				v.broken = true
				if err := g.fault(CodeCircle, v, corrupt(uint64(v.block), "a circle of pointers in %s comes through", v.tree)); err != nil {
					return nil, err
				}
			}
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

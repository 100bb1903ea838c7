package metadata

import "fmt"

// orderAndCheck returns the vertices in topological order, each after all that point to it. It
// checks the properties of whole trees: no cycles, keys within the range of every parent,
// leaves at one depth.
func (g *graph) orderAndCheck() ([]uint32, error) {
	order, waiting := g.topologicalOrder()
	if len(order) < len(g.vertices)-1 {
		// Nodes below a cycle that are not part of it may be sound, and in other trees too.
		for _, n := range g.cyclic(waiting) {
			v := &g.vertices[n]
			v.broken = true
			if err := g.onFault(CodeCircle, v,
				corrupt(uint64(v.block), "it is part of a cycle of pointers in %s", v.tree)); err != nil {
				return nil, err
			}
		}
		order, _ = g.topologicalOrder()
	}
	for _, n := range order {
		v := &g.vertices[n]
		if below := g.children(v); len(below) > 0 && !v.leaf {
			c := &g.vertices[below[len(below)-1]] // the last child may have keys up to the end of v's range
			c.high = min(c.high, v.high)
		}
	}
	for i := len(order) - 1; i >= 0; i-- {
		v := &g.vertices[order[i]]
		if code, err := g.checkVertex(v); err != nil {
			if err := g.onFault(code, v, err); err != nil {
				return nil, err
			}
		}
	}
	return order, nil
}

// topologicalOrder returns the vertices in topological order, and the number of unvisited
// parents of each. That number is not 0 below a cycle.
func (g *graph) topologicalOrder() (order, waiting []uint32) {
	waiting = make([]uint32, len(g.vertices))
	for n := range g.vertices {
		for _, child := range g.children(&g.vertices[n]) {
			waiting[child]++
		}
	}
	order = make([]uint32, 0, len(g.vertices)-1)
	for n := 1; n < len(g.vertices); n++ {
		if waiting[n] == 0 { // only superblocks point to it
			order = append(order, uint32(n))
		}
	}
	for i := 0; i < len(order); i++ {
		for _, child := range g.children(&g.vertices[order[i]]) {
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

// cyclic returns those of the waiting vertices from which a cycle can be reached.
func (g *graph) cyclic(waiting []uint32) (found []uint32) {
	leads, above := make([]uint32, len(g.vertices)), make([][]uint32, len(g.vertices))
	var done []uint32
	for n := 1; n < len(g.vertices); n++ {
		if waiting[n] == 0 {
			continue
		}
		for _, child := range g.children(&g.vertices[n]) {
			if child != 0 { // the children of a waiting vertex wait too
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
			found = append(found, uint32(n))
		}
	}
	return found
}

// checkVertex checks whether v fits its parents, and sets its height. All vertices below it
// must have been checked.
func (g *graph) checkVertex(v *vertex) (Code, error) {
	if v.broken {
		return "", nil // reported before
	}
	if v.entries == 0 {
		if v.leaf && !v.hasParent {
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
	for _, child := range g.children(v) {
		c := &g.vertices[child]
		if child == 0 || c.broken {
			continue
		}
		if v.height == 0 {
			v.height = c.height + 1
		}
		if v.height != c.height+1 {
			return CodeBalance, corrupt(uint64(v.block), "leaves of %s %d and %d nodes below it", v.tree, v.height, c.height+1)
		}
	}
	if v.height >= maxDepth {
		return CodeBalance, fmt.Errorf("in %s: %w", v.tree, corrupt(uint64(v.block), "deeper than %d levels", maxDepth))
	}
	return "", nil
}

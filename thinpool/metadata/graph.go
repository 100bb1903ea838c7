package metadata

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// treeKind is one of the format's btrees.
type treeKind uint8

const (
	topTree      treeKind = iota + 1 // device id -> root of its mappings
	mappingTree                      // virtual block -> data block and time
	detailsTree                      // device id -> details
	indexTree                        // number of a data bitmap -> where it is
	refCountTree                     // block -> count, where two bits do not hold it
)

func (t treeKind) String() string {
	switch t {
	case topTree:
		return "the tree of devices"
	case mappingTree:
		return "a device's mappings"
	case detailsTree:
		return "the device details"
	case indexTree:
		return "the index of the data space map"
	case refCountTree:
		return "a space map's reference counts"
	}
	return "no tree"
}

// leafValue is the size of a leaf's values in bytes.
func (t treeKind) leafValue() int {
	switch t {
	case detailsTree:
		return detailsSize
	case indexTree:
		return indexEntrySize
	case refCountTree:
		return 4
	}
	return 8
}

// maxEdges bounds the pointers that a graph holds: 512 MiB of them.
const maxEdges = 1 << 27

// vertex is a node that some other one points at.
type vertex struct {
	block   uint32
	refs    uint32 // distinct nodes and superblocks that point here
	edges   uint32 // index of its first edge; leaves of mappings have none
	entries uint16
	tree    treeKind
	leaf    bool
	broken  bool // could not be read or made no sense: no entries, no edges
	child   bool // of a node of its own tree
	lean    bool // has too few entries to be a child
	flawed  bool // something else is wrong with it, or with a pointer of it
	height  uint8

	low, high   uint64 // what all who point here allow; high is beyond the last
	first, last uint64 // keys that it has

	exclusive int32 // leaves of mappings: data blocks that no other entry has
}

// graph is every node under some roots, each read once however many ways lead
// to it. Vertices are numbered from 1 in the order they were come upon.
//
// Memory: 64 bytes for each node, 4 for each pointer between nodes and 4 for
// each block up to the highest pointed at.
type graph struct {
	limit    uint64 // blocks at or beyond it do not exist
	fetch    *fetcher
	vertices []vertex
	number   []uint32 // of the vertex at each block, 0 where none
	edges    []uint32 // vertices
	frontier []uint32 // vertices not yet read
	progress func(Progress)
	reported uint64

	// fault is told of all that is wrong. What it returns ends the reading; nil
	// goes on without the node.
	fault func(code Code, v *vertex, err error) error
	// leaf sees each leaf once, from several goroutines.
	leaf func(worker int, number uint32, v *vertex, n node) error
}

// Progress is how far a reading has come.
type Progress struct {
	Read  uint64 // metadata blocks read
	Known uint64 // metadata blocks known to be needed so far
}

func newGraph(r io.ReaderAt, limit uint64, workers int) *graph {
	return &graph{
		limit: limit, fetch: newFetcher(r, workers), vertices: make([]vertex, 1),
		fault: func(_ Code, _ *vertex, err error) error { return err },
	}
}

// expect makes room for so many nodes, lest growing needs it twice. A held root
// does not know how many there are.
func (g *graph) expect(nodes uint64) {
	nodes = min(nodes, g.limit)
	g.vertices = slices.Grow(g.vertices, int(nodes))
	g.edges = slices.Grow(g.edges, int(nodes))
}

// root makes block a root of t, pointed at by something outside the graph.
func (g *graph) root(block uint64, t treeKind) (uint32, error) {
	n, err := g.point(block, t, 0, math.MaxUint64)
	if err != nil {
		return 0, g.fault(CodePointer, nil, fmt.Errorf("the root of %s: %w", t, err))
	}
	return n, nil
}

// point counts a pointer at a block and returns its vertex.
func (g *graph) point(block uint64, t treeKind, low, high uint64) (uint32, error) {
	if block == 0 || block >= g.limit {
		return 0, corrupt(block, "a pointer at block %d of %d", block, g.limit)
	}
	if block >= uint64(len(g.number)) {
		g.number = append(g.number, make([]uint32, max(block+1, min(g.limit, 2*block))-uint64(len(g.number)))...)
	}
	n := g.number[block]
	if n == 0 {
		n = uint32(len(g.vertices))
		g.number[block] = n
		g.vertices = append(g.vertices, vertex{block: uint32(block), tree: t, high: math.MaxUint64})
		g.frontier = append(g.frontier, n)
	}
	v := &g.vertices[n]
	if v.tree != t {
		return 0, corrupt(block, "both in %s and in %s", v.tree, t)
	}
	v.refs++
	v.low, v.high = max(v.low, low), min(v.high, high)
	return n, nil
}

// found is what one worker read: pointers, not yet resolved.
type found struct {
	from   []uint32 // vertex
	count  []int
	blocks []uint64
	keys   []uint64
}

func (f *found) reset() {
	f.from, f.count, f.blocks, f.keys = f.from[:0], f.count[:0], f.blocks[:0], f.keys[:0]
}

// read follows all pointers from the roots on, a generation at a time and each
// generation in the order of its blocks.
func (g *graph) read(ctx context.Context) error {
	finds := make([]found, g.fetch.workers)
	for len(g.frontier) > 0 {
		generation := g.frontier
		g.frontier = nil
		g.byBlock(generation)
		for len(generation) > 0 { // in parts, to report and to bound what is found
			part := generation[:min(len(generation), 1<<13)]
			generation = generation[len(part):]
			blocks := make([]uint32, len(part))
			for i, n := range part {
				blocks[i] = g.vertices[n].block
			}
			err := g.fetch.each(ctx, blocks, func(worker, i int, b []byte, err error) error {
				return g.visit(worker, part[i], b, err, &finds[worker])
			})
			if err != nil {
				return err
			}
			if err := g.merge(finds); err != nil {
				return err
			}
			g.reported += uint64(len(part))
			if g.progress != nil {
				g.progress(Progress{Read: g.reported, Known: uint64(len(g.vertices) - 1)})
			}
		}
	}
	return nil
}

// byBlock brings vertices into the order of their blocks.
func (g *graph) byBlock(numbers []uint32) {
	slices.SortFunc(numbers, func(a, b uint32) int { return cmp.Compare(g.vertices[a].block, g.vertices[b].block) })
}

func (g *graph) visit(worker int, number uint32, b []byte, err error, f *found) error {
	v := &g.vertices[number]
	var n node
	if err == nil {
		n, err = parseNode(b, uint64(v.block), v.tree.leafValue())
	}
	if err != nil {
		v.broken = true
		return g.fault(nodeCode(err), v, fmt.Errorf("in %s: %w", v.tree, err))
	}
	v.leaf, v.entries, v.lean = n.leaf, uint16(n.entries), n.entries < n.max/3
	if n.entries > 0 {
		v.first, v.last = n.key(0), n.key(n.entries-1)
	}
	if n.leaf && g.leaf != nil {
		if err := g.leaf(worker, number, v, n); err != nil {
			return err
		}
	}
	if n.leaf && v.tree != topTree {
		return nil
	}
	f.from, f.count = append(f.from, number), append(f.count, n.entries)
	for i := range n.entries {
		f.blocks, f.keys = append(f.blocks, n.child(i)), append(f.keys, n.key(i))
	}
	return nil
}

func nodeCode(err error) Code {
	switch {
	case errors.Is(err, ErrChecksum):
		return CodeNodeChecksum
	case errors.Is(err, ErrCorrupt):
		return CodeNode
	}
	return CodeUnreadable
}

// merge resolves the pointers that the workers found.
func (g *graph) merge(finds []found) error {
	for w := range finds {
		f := &finds[w]
		at := 0
		for i, number := range f.from {
			count := f.count[i]
			if err := g.connect(number, f.blocks[at:at+count], f.keys[at:at+count]); err != nil {
				return err
			}
			at += count
		}
		f.reset()
	}
	return nil
}

// ErrTooLarge: sound perhaps, but with more pointers between nodes than are held
// in memory. Scan, Check, Repair.
var ErrTooLarge = errors.New("too many nodes for memory")

func (g *graph) connect(number uint32, blocks, keys []uint64) error {
	if len(g.edges)+len(blocks) > maxEdges {
		return fmt.Errorf("%w: over %d pointers", ErrTooLarge, maxEdges)
	}
	v := g.vertices[number] // a copy: pointing at new ones moves them all
	g.vertices[number].edges = uint32(len(g.edges))
	for i, block := range blocks {
		low, high, t := keys[i], uint64(math.MaxUint64), v.tree
		switch {
		case v.leaf: // of the tree of devices: another key space begins
			low, t = 0, mappingTree
		case i+1 < len(keys):
			high = keys[i+1]
		}
		n, err := g.point(block, t, low, high)
		if err != nil {
			if err := g.fault(CodePointer, &g.vertices[number], fmt.Errorf("in %s, block %d, key %d: %w", v.tree, v.block, keys[i], err)); err != nil {
				return err
			}
		}
		g.vertices[n].child = g.vertices[n].child || !v.leaf
		g.edges = append(g.edges, n)
	}
	return nil
}

// below are the vertices that v points at, 0 for a pointer that was at fault.
func (g *graph) below(v *vertex) []uint32 {
	if v.broken || v.leaf && v.tree != topTree {
		return nil
	}
	return g.edges[v.edges:][:v.entries]
}

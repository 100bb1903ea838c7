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

// treeKind is a kind of btree in the format.
type treeKind uint8

const (
	topTree      treeKind = iota + 1 // device id -> root of its mappings
	mappingTree                      // virtual block -> data block and time
	detailsTree                      // device id -> details
	indexTree                        // number of a data bitmap -> its index entry
	refCountTree                     // block -> count over 2
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
	return "an unknown tree"
}

// leafValue returns the size of a leaf's values in bytes.
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

// maxEdges is the largest number of pointers in a graph: 512 MiB.
const maxEdges = 1 << 27

// vertex is a btree node.
type vertex struct {
	block     uint32
	refs      uint32 // number of nodes and superblocks that point to it
	edges     uint32 // index of its first edge; a mapping leaf has none
	entries   uint16
	tree      treeKind
	leaf      bool
	broken    bool // unreadable or invalid, without entries and edges
	hasParent bool // a node of its own tree points to it
	underfull bool // it has too few entries for a node with a parent
	flawed    bool // it has another defect, or one of its pointers has
	height    uint8

	low, high   uint64 // the keys that all its parents allow; high is exclusive
	first, last uint64 // its keys

	exclusive int32 // of a mapping leaf: data blocks that no other mapping refers to
}

// graph holds every node under some roots. Each node is read once, also if several pointers
// lead to it. Vertices are numbered from 1 in the order of their discovery.
//
// Memory: 64 bytes for each node, 4 for each pointer between nodes and 4 for each block up to
// the highest that a pointer leads to.
type graph struct {
	limit    uint64 // number of metadata blocks
	reader   *blockReader
	vertices []vertex
	vertexAt []uint32 // of the vertex at each block; 0: none
	edges    []uint32 // vertices
	frontier []uint32 // vertices that are still to be read
	progress func(Progress)
	reported uint64

	// onFault receives each defect. If it returns an error, the reading ends; otherwise the
	// reading continues without the node.
	onFault func(code Code, v *vertex, err error) error
	// onLeaf receives each leaf once, from several goroutines.
	onLeaf func(worker int, number uint32, v *vertex, n node) error
}

// Progress is the progress of a scan.
type Progress struct {
	Read  uint64 // metadata blocks read
	Known uint64 // metadata blocks to read, as far as found
}

func newGraph(r io.ReaderAt, limit uint64, workers int) *graph {
	return &graph{
		limit: limit, reader: newBlockReader(r, workers), vertices: make([]vertex, 1),
		onFault: func(_ Code, _ *vertex, err error) error { return err },
	}
}

// reserve allocates memory for so many nodes at once. To grow the slices later needs twice as
// much memory. For a held root the number is not known.
func (g *graph) reserve(nodes uint64) {
	nodes = min(nodes, g.limit)
	g.vertices = slices.Grow(g.vertices, int(nodes))
	g.edges = slices.Grow(g.edges, int(nodes))
}

// root adds block as the root of a tree of kind t, with a pointer from outside the graph.
func (g *graph) root(block uint64, t treeKind) (uint32, error) {
	n, err := g.addPointer(block, t, 0, math.MaxUint64)
	if err != nil {
		return 0, g.onFault(CodePointer, nil, fmt.Errorf("the root of %s: %w", t, err))
	}
	return n, nil
}

// addPointer counts a pointer to a block and returns its vertex.
func (g *graph) addPointer(block uint64, t treeKind, low, high uint64) (uint32, error) {
	if block == 0 || block >= g.limit {
		return 0, corrupt(block, "a pointer to block %d of %d", block, g.limit)
	}
	if block >= uint64(len(g.vertexAt)) {
		g.vertexAt = append(g.vertexAt, make([]uint32, max(block+1, min(g.limit, 2*block))-uint64(len(g.vertexAt)))...)
	}
	n := g.vertexAt[block]
	if n == 0 {
		n = uint32(len(g.vertices))
		g.vertexAt[block] = n
		g.vertices = append(g.vertices, vertex{block: uint32(block), tree: t, high: math.MaxUint64})
		g.frontier = append(g.frontier, n)
	}
	v := &g.vertices[n]
	if v.tree != t {
		return 0, corrupt(block, "the block is in %s and in %s", v.tree, t)
	}
	v.refs++
	v.low, v.high = max(v.low, low), min(v.high, high)
	return n, nil
}

// foundPointers holds the pointers that one worker read and that have no edges so far.
type foundPointers struct {
	from   []uint32 // vertex
	count  []int
	blocks []uint64
	keys   []uint64
}

func (f *foundPointers) reset() {
	f.from, f.count, f.blocks, f.keys = f.from[:0], f.count[:0], f.blocks[:0], f.keys[:0]
}

// read reads all nodes below the roots, one generation after another, each in the order of its
// blocks.
func (g *graph) read(ctx context.Context) error {
	found := make([]foundPointers, g.reader.workers)
	for len(g.frontier) > 0 {
		generation := g.frontier
		g.frontier = nil
		g.byBlock(generation)
		for len(generation) > 0 { // in parts, to report progress and to limit memory
			part := generation[:min(len(generation), 1<<13)]
			generation = generation[len(part):]
			blocks := make([]uint32, len(part))
			for i, n := range part {
				blocks[i] = g.vertices[n].block
			}
			err := g.reader.each(ctx, blocks, func(worker, i int, b []byte, err error) error {
				return g.visit(worker, part[i], b, err, &found[worker])
			})
			if err != nil {
				return err
			}
			if err := g.merge(found); err != nil {
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

// byBlock sorts vertices by their blocks.
func (g *graph) byBlock(numbers []uint32) {
	slices.SortFunc(numbers, func(a, b uint32) int { return cmp.Compare(g.vertices[a].block, g.vertices[b].block) })
}

func (g *graph) visit(worker int, number uint32, b []byte, err error, f *foundPointers) error {
	v := &g.vertices[number]
	var n node
	if err == nil {
		n, err = parseNode(b, uint64(v.block), v.tree.leafValue())
	}
	if err != nil {
		v.broken = true
		return g.onFault(nodeCode(err), v, fmt.Errorf("in %s: %w", v.tree, err))
	}
	v.leaf, v.entries, v.underfull = n.leaf, uint16(n.entries), n.entries < n.max/3
	if n.entries > 0 {
		v.first, v.last = n.key(0), n.key(n.entries-1)
	}
	if n.leaf && g.onLeaf != nil {
		if err := g.onLeaf(worker, number, v, n); err != nil {
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

// merge adds the pointers that the workers found.
func (g *graph) merge(found []foundPointers) error {
	for w := range found {
		f := &found[w]
		at := 0
		for i, number := range f.from {
			count := f.count[i]
			if err := g.addEdges(number, f.blocks[at:at+count], f.keys[at:at+count]); err != nil {
				return err
			}
			at += count
		}
		f.reset()
	}
	return nil
}

// ErrTooLarge reports more pointers between nodes than the memory limit allows. The metadata
// may be sound. Scan, Check, Repair.
var ErrTooLarge = errors.New("too many nodes for memory")

func (g *graph) addEdges(number uint32, blocks, keys []uint64) error {
	if len(g.edges)+len(blocks) > maxEdges {
		return fmt.Errorf("%w: over %d pointers", ErrTooLarge, maxEdges)
	}
	v := g.vertices[number] // a copy: addPointer may move the vertices
	g.vertices[number].edges = uint32(len(g.edges))
	for i, block := range blocks {
		low, high, t := keys[i], uint64(math.MaxUint64), v.tree
		switch {
		case v.leaf: // of the tree of devices: the keys below are those of another tree
			low, t = 0, mappingTree
		case i+1 < len(keys):
			high = keys[i+1]
		}
		n, err := g.addPointer(block, t, low, high)
		if err != nil {
			if err := g.onFault(CodePointer, &g.vertices[number],
				fmt.Errorf("in %s, block %d, key %d: %w", v.tree, v.block, keys[i], err)); err != nil {
				return err
			}
		}
		g.vertices[n].hasParent = g.vertices[n].hasParent || !v.leaf
		g.edges = append(g.edges, n)
	}
	return nil
}

// children returns the vertices that v points to, 0 for an invalid pointer.
func (g *graph) children(v *vertex) []uint32 {
	if v.broken || v.leaf && v.tree != topTree {
		return nil
	}
	return g.edges[v.edges:][:v.entries]
}

package metadata

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"thinctl/units"
)

// ScanOptions says how a whole metadata is read.
type ScanOptions struct {
	// DataBlocks is the size of the data device in data blocks, beyond which no
	// mapping may point. 0: as the superblock says, which a held root does not.
	DataBlocks uint64
	// Memory is what the claims on data blocks may take: 4 bytes for each block
	// of every 65536 that hold a mapped one. Where they need more, the leaves
	// are read again for each part that fits. 0: 1 GiB.
	Memory units.Bytes
	// Workers read and parse at the same time. 0: four for each processor.
	Workers int
	// Progress, if set, is told now and then how far the reading has come.
	Progress func(Progress)
}

func (o ScanOptions) regions() int64 {
	if o.Memory == 0 {
		o.Memory = units.GiB
	}
	return max(1, int64(o.Memory/regionSize))
}

// Map is what a scan found: every thin device's mappings, as a graph of nodes
// that devices share, and a claim on each data block.
//
// A Map belongs to the metadata as it was when scanned: [Map.Freed],
// [Map.Owners] and [Map.Layout] read leaves again and must not be used once a
// held root has been released or an inactive pool been activated.
type Map struct {
	superblock Superblock
	options    ScanOptions
	graph      *graph
	order      []uint32 // of vertices, parents first

	mu               sync.Mutex     // while reading
	small            map[uint32]any // what leaves of other trees than mappings say, by vertex
	kept             atomic.Int64   // reference counts in small
	top, detailsRoot uint32         // vertices
	roots            []deviceRoot
	details          []Device

	// beyond is told of a mapping to no data block, later of one whose time is
	// after latest.
	beyond func(v *vertex, n node, i int, block uint64) error
	later  func(v *vertex, n node, i int, time uint32)
	latest uint64

	used    uint64 // data blocks that are mapped
	windows []window
	claims  *claims // of all, where they fit
	spares  spares
}

// deviceRoot is where a device's mappings begin.
type deviceRoot struct {
	id   uint32
	root uint32 // vertex; 0 where it could not be reached
	// doubtful: the node that says so is flawed.
	doubtful bool
}

// Scan reads all mappings under root, a held root or the superblock of a pool
// that is not active: each node once, in the order of their places, however
// many devices share it. Every checksum is verified and all that a btree must
// be; the first fault ends the scan with ErrChecksum, ErrCorrupt or
// ErrTruncated. ErrTooLarge: see there.
//
// Memory: 64 bytes for each node reached, 4 for each pointer between nodes, 4
// for each metadata block, and ScanOptions.Memory.
func Scan(ctx context.Context, r io.ReaderAt, root Superblock, o ScanOptions) (*Map, error) {
	m := newMap(r, root, o)
	err := m.begin(root)
	if err == nil {
		err = m.finish(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("scanning metadata: %w", err)
	}
	return m, nil
}

func newMap(r io.ReaderAt, root Superblock, o ScanOptions) *Map {
	if o.DataBlocks == 0 {
		o.DataBlocks = root.DataSpaceMap.Blocks
	}
	if o.DataBlocks == 0 {
		o.DataBlocks = maxDataBlock + 1
	}
	m := &Map{superblock: root, options: o, graph: newGraph(r, limit(root), o.Workers), small: map[uint32]any{}, latest: maxTime}
	m.beyond = func(_ *vertex, n node, i int, block uint64) error {
		return corrupt(n.block, "virtual block %d is mapped to data block %d of %d", n.key(i), block, o.DataBlocks)
	}
	m.graph.progress = o.Progress
	m.graph.expect(root.MetadataSpaceMap.Allocated)
	return m
}

// begin adds what a superblock points at.
func (m *Map) begin(root Superblock) error {
	top, err := m.graph.root(root.MappingRoot, topTree)
	if err != nil {
		return err
	}
	details, err := m.graph.root(root.DetailsRoot, detailsTree)
	if err != nil {
		return err
	}
	if m.top == 0 {
		m.top, m.detailsRoot = top, details
	}
	return nil
}

// finish reads everything from the roots on.
func (m *Map) finish(ctx context.Context) error {
	g := m.graph
	c := newClaims(window{0, allRegions}, m.options.regions(), &m.spares)
	g.leaf = func(_ int, number uint32, v *vertex, n node) error {
		if v.tree == mappingTree {
			return m.claim(c, number, n, true)
		}
		return m.keep(number, v, n)
	}
	if err := g.read(ctx); err != nil {
		return err
	}
	var err error
	if m.order, err = g.settle(); err != nil {
		return err
	}
	m.listDevices()
	m.windows, m.claims = []window{c.window}, c
	if !c.over.Load() {
		m.used = c.used.Load()
		return nil
	}
	m.windows, m.claims = c.windows(int(m.options.regions())), nil
	c.drop()
	for n := range g.vertices {
		g.vertices[n].exclusive = 0
	}
	return m.passes(ctx, true, func(c *claims) error {
		m.used += c.used.Load()
		return nil
	})
}

// passes calls visit with the claims of each window in turn.
func (m *Map) passes(ctx context.Context, count bool, visit func(*claims) error) error {
	if m.claims != nil {
		return visit(m.claims)
	}
	leaves, blocks := m.leaves(func(uint32, *vertex) bool { return true })
	for _, w := range m.windows {
		c := newClaims(w, m.options.regions(), &m.spares)
		err := m.graph.fetch.each(ctx, blocks, func(_, i int, b []byte, err error) error {
			n, err := m.reread(leaves[i], b, err)
			if err != nil {
				return err
			}
			return m.claim(c, leaves[i], n, count)
		})
		if err != nil {
			return err
		}
		if err := visit(c); err != nil {
			return err
		}
		c.drop()
	}
	return nil
}

// leaves lists the mappings' leaves that pass, in the order of their blocks.
func (m *Map) leaves(pass func(uint32, *vertex) bool) (leaves, blocks []uint32) {
	for n := range m.graph.vertices {
		if v := &m.graph.vertices[n]; v.leaf && v.tree == mappingTree && pass(uint32(n), v) {
			leaves = append(leaves, uint32(n))
		}
	}
	m.graph.byBlock(leaves)
	for _, n := range leaves {
		blocks = append(blocks, m.graph.vertices[n].block)
	}
	return leaves, blocks
}

// reread parses a leaf that was read before.
func (m *Map) reread(number uint32, b []byte, err error) (node, error) {
	v := &m.graph.vertices[number]
	if err != nil {
		return node{}, err
	}
	n, err := parseNode(b, uint64(v.block), v.tree.leafValue())
	if err == nil && (!n.leaf || n.entries != int(v.entries)) {
		err = errChanged
	}
	return n, err
}

// errChanged: the kernel has written since.
var errChanged = errors.New("the metadata has changed since it was scanned: scan again")

// claim claims the data blocks of a leaf, and counts them where that was not
// done before.
func (m *Map) claim(c *claims, number uint32, n node, count bool) error {
	second := func(leaf uint32) {
		if count {
			atomic.AddInt32(&m.graph.vertices[leaf].exclusive, -1)
		}
	}
	first, values := int32(0), n.b[nodeHeader+8*n.max:][:8*n.entries]
	around, r := uint64(allRegions), (*region)(nil) // neighbours mostly lie in one region
	for i := range n.entries {
		packed := binary.LittleEndian.Uint64(values[8*i:])
		block := packed >> timeBits
		if packed&maxTime > m.latest && m.order == nil {
			m.later(&m.graph.vertices[number], n, i, uint32(packed&maxTime))
		}
		if block >= m.options.DataBlocks {
			if m.order != nil { // told when it was first read
				continue
			}
			if err := m.beyond(&m.graph.vertices[number], n, i, block); err != nil {
				return err
			}
			continue
		}
		if block/regionBlocks != around {
			around, r = block/regionBlocks, c.region(block)
		}
		if r != nil && r.claim(block, number, second) {
			first++
		}
	}
	c.used.Add(uint64(first))
	if count {
		atomic.AddInt32(&m.graph.vertices[number].exclusive, first)
	}
	return nil
}

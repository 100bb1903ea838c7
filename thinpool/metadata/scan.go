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

// ScanOptions are the options of Scan.
type ScanOptions struct {
	// DataBlocks is the size of the data device in data blocks. No mapping may refer to a block
	// beyond it. 0: as in the superblock; a held root does not have it.
	DataBlocks uint64
	// Memory limits the memory for the references to data blocks: 4 bytes for each block of
	// every 65536 if any of them is mapped. If they need more, the leaves are read again for
	// each part that fits. 0: 1 GiB.
	Memory units.Bytes
	// Workers is the number of goroutines that read and parse. 0: four for each processor.
	Workers int
	// Progress, if set, is called from time to time.
	Progress func(Progress)
}

func (o ScanOptions) regions() int64 {
	if o.Memory == 0 {
		o.Memory = units.GiB
	}
	return max(1, int64(o.Memory/regionSize))
}

// Map is the result of a scan: the mappings of every thin device, as a graph of nodes that
// devices share, and the references to each data block.
//
// A Map belongs to the metadata at the time of the scan. [Map.Freed], [Map.Owners] and
// [Map.Layout] read leaves again, and must not be called after the held root was released or
// the inactive pool was activated.
type Map struct {
	superblock Superblock
	options    ScanOptions
	graph      *graph
	order      []uint32 // vertices, parents first

	mu               sync.Mutex     // while reading
	leafData         map[uint32]any // by vertex, the content of leaves that are not mapping leaves
	keptCounts       atomic.Int64   // reference counts in leafData
	top, detailsRoot uint32         // vertices
	roots            []deviceRoot
	details          []Device

	// onBeyondData receives a mapping to a block beyond the data device, onTimeAhead one
	// with a time after latest.
	onBeyondData func(v *vertex, n node, i int, block uint64) error
	onTimeAhead  func(v *vertex, n node, i int, time uint32)
	latest       uint64

	used    uint64 // data blocks that are mapped
	windows []window
	refs    *dataRefs // of all data blocks; nil if they do not fit
	regions regionPool
}

// deviceRoot is the root of a device's mapping tree.
type deviceRoot struct {
	id   uint32
	root uint32 // vertex; 0 if it is out of reach
	// doubtful is set if the node with this entry has a defect.
	doubtful bool
}

// Scan reads all mappings under root, a held root or the superblock of an inactive pool. It
// reads each node once, in the order of the blocks, also if several devices share it. It
// verifies every checksum and all properties of a btree. The first defect ends the scan with
// ErrChecksum, ErrCorrupt or ErrTruncated. ErrTooLarge is described there.
//
// Memory: 64 bytes for each node, 4 for each pointer between nodes, 4 for each metadata block,
// and ScanOptions.Memory.
func Scan(ctx context.Context, r io.ReaderAt, root Superblock, o ScanOptions) (*Map, error) {
	m := newMap(r, root, o)
	err := m.addRoots(root)
	if err == nil {
		err = m.readAll(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("scan metadata: %w", err)
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
	m := &Map{superblock: root, options: o, graph: newGraph(r, blockLimit(root), o.Workers),
		leafData: map[uint32]any{}, latest: maxTime}
	m.onBeyondData = func(_ *vertex, n node, i int, block uint64) error {
		return corrupt(n.block, "virtual block %d is mapped to data block %d of %d", n.key(i), block, o.DataBlocks)
	}
	m.graph.progress = o.Progress
	m.graph.reserve(root.MetadataSpaceMap.Allocated)
	return m
}

// addRoots adds the roots of a superblock.
func (m *Map) addRoots(root Superblock) error {
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

// readAll reads everything below the roots.
func (m *Map) readAll(ctx context.Context) error {
	g := m.graph
	c := newDataRefs(window{0, allRegions}, m.options.regions(), &m.regions)
	g.onLeaf = func(_ int, number uint32, v *vertex, n node) error {
		if v.tree == mappingTree {
			return m.addRefs(c, number, n, true)
		}
		return m.decodeLeaf(number, v, n)
	}
	if err := g.read(ctx); err != nil {
		return err
	}
	var err error
	if m.order, err = g.orderAndCheck(); err != nil {
		return err
	}
	m.listDevices()
	m.windows, m.refs = []window{c.window}, c
	if !c.overBudget.Load() {
		m.used = c.used.Load()
		return nil
	}
	m.windows, m.refs = c.windows(int(m.options.regions())), nil
	c.release()
	for n := range g.vertices {
		g.vertices[n].exclusive = 0
	}
	return m.passes(ctx, true, func(c *dataRefs) error {
		m.used += c.used.Load()
		return nil
	})
}

// passes calls visit with the references of each window.
func (m *Map) passes(ctx context.Context, count bool, visit func(*dataRefs) error) error {
	if m.refs != nil {
		return visit(m.refs)
	}
	leaves, blocks := m.leaves(func(uint32, *vertex) bool { return true })
	for _, w := range m.windows {
		c := newDataRefs(w, m.options.regions(), &m.regions)
		err := m.graph.reader.each(ctx, blocks, func(_, i int, b []byte, err error) error {
			n, err := m.reread(leaves[i], b, err)
			if err != nil {
				return err
			}
			return m.addRefs(c, leaves[i], n, count)
		})
		if err != nil {
			return err
		}
		if err := visit(c); err != nil {
			return err
		}
		c.release()
	}
	return nil
}

// leaves returns the mapping leaves for which pass returns true, in the order of their blocks.
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

// errChanged: the kernel has written to the metadata since the scan.
var errChanged = errors.New("the metadata has changed since it was scanned: scan again")

// addRefs adds the references of a leaf to its data blocks. With count it also counts the
// exclusive blocks of leaves.
func (m *Map) addRefs(c *dataRefs, number uint32, n node, count bool) error {
	second := func(leaf uint32) {
		if count {
			atomic.AddInt32(&m.graph.vertices[leaf].exclusive, -1)
		}
	}
	first, values := int32(0), n.b[nodeHeader+8*n.max:][:8*n.entries]
	around, r := uint64(allRegions), (*region)(nil) // adjacent mappings are mostly in one region
	for i := range n.entries {
		packed := binary.LittleEndian.Uint64(values[8*i:])
		block := packed >> timeBits
		if packed&maxTime > m.latest && m.order == nil {
			m.onTimeAhead(&m.graph.vertices[number], n, i, uint32(packed&maxTime))
		}
		if block >= m.options.DataBlocks {
			if m.order != nil { // reported when it was first read
				continue
			}
			if err := m.onBeyondData(&m.graph.vertices[number], n, i, block); err != nil {
				return err
			}
			continue
		}
		if block/regionBlocks != around {
			around, r = block/regionBlocks, c.region(block)
		}
		if r != nil && r.addRef(block, number, second) {
			first++
		}
	}
	c.used.Add(uint64(first))
	if count {
		atomic.AddInt32(&m.graph.vertices[number].exclusive, first)
	}
	return nil
}

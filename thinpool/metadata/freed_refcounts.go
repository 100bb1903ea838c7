package metadata

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Freed returns what [Map.Freed] does, the number of data blocks that come back
// when all the devices of ids go, at the cost of what comes back and not of the
// whole pool: the kernel counts what points at each node and each data block,
// so whatever is counted more often than these devices point at it belongs to
// others too, and so does all below it.
//
// root must be a superblock whose transaction is on the disk and stays there
// until Freed returns, for what is reached from it must not be used again
// meanwhile; and it must hold no other root, which would be counted as well.
// Errors are ErrNoDevice, ErrChecksum, ErrCorrupt, ErrTruncated, and
// ErrTooLarge where the devices share over 2^22 blocks among each other: scan.
func Freed(ctx context.Context, r io.ReaderAt, root Superblock, ids ...uint32) (uint64, error) {
	if root.Block != 0 || root.HeldRoot != 0 {
		return 0, errors.New("what devices have alone is counted in a superblock that holds no other root")
	}
	whole := tree{r: &recalled{r: r}, limit: limit(root)}
	w := alone{
		tree:  tree{r: r, limit: whole.limit, kind: mappingTree},
		nodes: counted{tree: whole, root: root.MetadataSpaceMap, flat: true},
		data:  counted{tree: whole, root: root.DataSpaceMap},
	}
	tops := map[uint32]uint64{}
	for _, id := range ids {
		_, top, err := mappings(r, root, id)
		if err != nil {
			return 0, err
		}
		tops[id] = top
	}
	for id, top := range tops {
		if err := w.pointers(ctx, []place{{block: top}}, uint32(len(tops))); err != nil {
			return 0, fmt.Errorf("reading what thin device %d alone has: %w", id, err)
		}
	}
	return w.freed, nil
}

// alone walks down from devices as long as nothing else points there.
type alone struct {
	tree
	nodes, data counted
	freed       uint64
}

// pointers follows those pointers to nodes that are the last there are. No
// device points at anything twice, so devices is the most that all of them do.
func (w *alone) pointers(ctx context.Context, to []place, devices uint32) error {
	var last []place
	var blocks []uint32
	for _, p := range to {
		if err := w.reachable(p); err != nil {
			return err
		}
		is, err := w.nodes.last(p.block, devices)
		if err != nil {
			return err
		}
		if is {
			last, blocks = append(last, p), append(blocks, uint32(p.block))
		}
	}
	if len(last) == 0 {
		return nil
	}
	loaded := make([][]byte, len(last))
	fetch(ctx, w.r, blocks, aligned(len(last)*blockSize), loaded)
	for i, p := range last {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := w.node(p, loaded[i])
		if err != nil {
			return err
		}
		if err := w.below(ctx, p, n, devices); err != nil {
			return err
		}
	}
	return nil
}

func (w *alone) node(p place, loaded []byte) (node, error) {
	if loaded == nil {
		return w.read(p, newBlock())
	}
	return w.parse(p, loaded)
}

func (w *alone) below(ctx context.Context, p place, n node, devices uint32) error {
	if !n.leaf {
		children := make([]place, n.entries)
		for i := range children {
			children[i] = p.child(n, i)
		}
		return w.pointers(ctx, children, devices)
	}
	for i := range n.entries {
		is, err := w.data.last(mapping(n.child(i)).data(), devices)
		if err != nil {
			return err
		}
		if is {
			w.freed++
		}
	}
	return nil
}

// counted tells pointers by a space map's counts of them.
type counted struct {
	tree // its kind is set before each use
	root SpaceMap
	flat bool // the index is one block and no tree: the metadata's

	bitmaps map[uint64][]byte // by number
	met     map[uint64]uint32 // pointers so far, of blocks with more to come
}

// mostMet bounds counted.met: some 200 MiB.
const mostMet = 1 << 22

// last counts a pointer to a block, and tells whether it is the last of all.
// most is how many of them may come at all.
func (c *counted) last(block uint64, most uint32) (bool, error) {
	count, err := c.count(block, most)
	switch {
	case err != nil:
		return false, err
	case count == 0:
		return false, corrupt(block, "it is pointed at and counted as free")
	case count == 1:
		return true, nil
	case count > most:
		return false, nil
	}
	if c.met == nil {
		c.met = map[uint64]uint32{}
	}
	if c.met[block]++; c.met[block] == count {
		delete(c.met, block)
		return true, nil
	}
	if len(c.met) > mostMet {
		return false, fmt.Errorf("%w: over %d blocks that these devices share", ErrTooLarge, mostMet)
	}
	return false, nil
}

// count is how often a block is pointed at, or some number over most where it
// is more often.
func (c *counted) count(block uint64, most uint32) (uint32, error) {
	if block >= c.root.Blocks {
		return 0, corrupt(block, "a pointer to block %d of %d", block, c.root.Blocks)
	}
	number := block / uint64(bitmapEntries)
	bitmap, err := c.bitmap(number)
	if err != nil {
		return 0, err
	}
	raw := rawIn(bitmap, int(block%uint64(bitmapEntries)))
	if raw != rawMore || most < rawMore {
		return inBitmap[raw], nil
	}
	value, err := c.lookup(refCountTree, c.root.RefCountRoot, block)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(value), nil
}

func (c *counted) lookup(kind treeKind, root, key uint64) ([]byte, error) {
	c.kind = kind
	value, found, err := c.tree.lookup(root, key, newBlock())
	if err == nil && !found {
		err = corrupt(root, "the %s under it has no %d", kind, key)
	}
	return value, err
}

func (c *counted) bitmap(number uint64) ([]byte, error) {
	if b, ok := c.bitmaps[number]; ok {
		return b, nil
	}
	entry, err := c.entry(number)
	if err != nil {
		return nil, err
	}
	b := newBlock()
	if err := readBlock(c.r, entry.block, b); err != nil {
		return nil, err
	}
	if err := checkBitmap(b, entry.block); err != nil {
		return nil, err
	}
	if c.bitmaps == nil {
		c.bitmaps = map[uint64][]byte{}
	}
	c.bitmaps[number] = b
	return b, nil
}

func (c *counted) entry(number uint64) (indexEntry, error) {
	if !c.flat {
		value, err := c.lookup(indexTree, c.root.BitmapRoot, number)
		if err != nil {
			return indexEntry{}, err
		}
		return decodeIndexEntry(number, value), nil
	}
	b := newBlock()
	if err := readBlock(c.r, c.root.BitmapRoot, b); err != nil {
		return indexEntry{}, err
	}
	if err := checkIndex(b, c.root.BitmapRoot); err != nil {
		return indexEntry{}, err
	}
	return decodeIndexEntry(number, b[bitmapHeader+indexEntrySize*int(number):]), nil
}

// recalled keeps blocks that were read: neighbours' counts lie in one.
type recalled struct {
	r      io.ReaderAt
	blocks map[int64][]byte
}

// mostRecalled bounds recalled.blocks: 16 MiB.
const mostRecalled = 4096

func (c *recalled) ReadAt(b []byte, at int64) (int, error) {
	if kept, ok := c.blocks[at]; ok && len(b) == len(kept) {
		return copy(b, kept), nil
	}
	n, err := c.r.ReadAt(b, at)
	if err != nil || n != blockSize {
		return n, err
	}
	if c.blocks == nil || len(c.blocks) >= mostRecalled {
		c.blocks = map[int64][]byte{}
	}
	c.blocks[at] = append([]byte(nil), b...)
	return n, nil
}

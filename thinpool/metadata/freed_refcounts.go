package metadata

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Freed returns the same number as [Map.Freed]: the data blocks that become free if all the
// devices of ids are deleted. It reads only the nodes that are freed too, not the whole pool.
// The kernel counts the references to each node and each data block. If a count is higher than
// the number of references from these devices, the block and everything below it also belong to
// other devices.
//
// root must be the superblock of a committed transaction that is not replaced before Freed
// returns, because blocks that it reaches must not be reused in the meantime. It must not have
// a held root, whose references are counted too. Errors are ErrNoDevice, ErrChecksum,
// ErrCorrupt, ErrTruncated, and ErrTooLarge if the devices share over 2^22 blocks among each
// other: use Scan.
func Freed(ctx context.Context, r io.ReaderAt, root Superblock, ids ...uint32) (uint64, error) {
	if root.Block != 0 || root.HeldRoot != 0 {
		return 0, errors.New("count freed blocks: the superblock must be the live one and have no held root")
	}
	whole := tree{r: &cachedReader{r: r}, limit: blockLimit(root)}
	w := freedCounter{
		tree:  tree{r: r, limit: whole.limit, kind: mappingTree},
		nodes: countReader{tree: whole, root: root.MetadataSpaceMap, flat: true},
		data:  countReader{tree: whole, root: root.DataSpaceMap},
	}
	tops := map[uint32]uint64{}
	for _, id := range ids {
		_, top, err := mappingTreeOf(r, root, id)
		if err != nil {
			return 0, err
		}
		tops[id] = top
	}
	for id, top := range tops {
		if err := w.followPointers(ctx, []place{{block: top}}, uint32(len(tops))); err != nil {
			return 0, fmt.Errorf("count blocks that thin device %d frees: %w", id, err)
		}
	}
	return w.freed, nil
}

// freedCounter walks down from devices as long as no other device points to a node.
type freedCounter struct {
	tree
	nodes, data countReader
	freed       uint64
}

// followPointers follows the pointers after which no reference to the node remains. No device
// refers to a block twice, so devices is the largest number of references from all of them.
func (w *freedCounter) followPointers(ctx context.Context, to []place, devices uint32) error {
	var last []place
	var blocks []uint32
	for _, p := range to {
		if err := w.reachable(p); err != nil {
			return err
		}
		is, err := w.nodes.isLast(p.block, devices)
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
	readSparse(ctx, w.r, blocks, aligned(len(last)*blockSize), loaded)
	for i, p := range last {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := w.node(p, loaded[i])
		if err != nil {
			return err
		}
		if err := w.followNode(ctx, p, n, devices); err != nil {
			return err
		}
	}
	return nil
}

func (w *freedCounter) node(p place, loaded []byte) (node, error) {
	if loaded == nil {
		return w.read(p, newBlock())
	}
	return w.parse(p, loaded)
}

func (w *freedCounter) followNode(ctx context.Context, p place, n node, devices uint32) error {
	if !n.leaf {
		children := make([]place, n.entries)
		for i := range children {
			children[i] = p.child(n, i)
		}
		return w.followPointers(ctx, children, devices)
	}
	for i := range n.entries {
		is, err := w.data.isLast(mapping(n.child(i)).data(), devices)
		if err != nil {
			return err
		}
		if is {
			w.freed++
		}
	}
	return nil
}

// countReader counts references and compares them with a space map.
type countReader struct {
	tree // kind is set before each use
	root SpaceMap
	flat bool // the index is one block, not a tree, as in the metadata space map

	bitmaps map[uint64][]byte // by number
	seen    map[uint64]uint32 // references so far, of blocks with more references
}

// maxSeen is the largest size of countReader.seen: about 200 MiB.
const maxSeen = 1 << 22

// isLast counts a reference to a block, and reports whether it is the last one. most is the
// largest number of references that can occur.
func (c *countReader) isLast(block uint64, most uint32) (bool, error) {
	count, err := c.count(block, most)
	switch {
	case err != nil:
		return false, err
	case count == 0:
		return false, corrupt(block, "a pointer leads to it, and its reference count is 0")
	case count == 1:
		return true, nil
	case count > most:
		return false, nil
	}
	if c.seen == nil {
		c.seen = map[uint64]uint32{}
	}
	if c.seen[block]++; c.seen[block] == count {
		delete(c.seen, block)
		return true, nil
	}
	if len(c.seen) > maxSeen {
		return false, fmt.Errorf("%w: these devices share over %d blocks", ErrTooLarge, maxSeen)
	}
	return false, nil
}

// count returns the reference count of a block. If it is over most, the result may be any
// number over most.
func (c *countReader) count(block uint64, most uint32) (uint32, error) {
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

func (c *countReader) lookup(kind treeKind, root, key uint64) ([]byte, error) {
	c.kind = kind
	value, found, err := c.tree.lookup(root, key, newBlock())
	if err == nil && !found {
		err = corrupt(root, "%s under it has no key %d", kind, key)
	}
	return value, err
}

func (c *countReader) bitmap(number uint64) ([]byte, error) {
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

func (c *countReader) entry(number uint64) (indexEntry, error) {
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

// cachedReader keeps blocks that were read, because counts of neighbouring blocks are in the
// same block.
type cachedReader struct {
	r      io.ReaderAt
	blocks map[int64][]byte
}

// maxCached is the largest number of blocks in cachedReader: 16 MiB.
const maxCached = 4096

func (c *cachedReader) ReadAt(b []byte, at int64) (int, error) {
	if kept, ok := c.blocks[at]; ok && len(b) == len(kept) {
		return copy(b, kept), nil
	}
	n, err := c.r.ReadAt(b, at)
	if err != nil || n != blockSize {
		return n, err
	}
	if c.blocks == nil || len(c.blocks) >= maxCached {
		c.blocks = map[int64][]byte{}
	}
	c.blocks[at] = append([]byte(nil), b...)
	return n, nil
}

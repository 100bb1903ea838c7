package metadata

import (
	"encoding/binary"
)

// The format of a btree node (persistent-data/dm-btree-internal.h, struct btree_node).
const (
	nodeHeader   = 32
	flagInternal = 1
	flagLeaf     = 2
)

// node is a view of a btree node that was checked.
type node struct {
	block     uint64
	b         []byte
	leaf      bool
	entries   int
	max       int
	valueSize int
}

func (n node) key(i int) uint64 { return binary.LittleEndian.Uint64(n.b[nodeHeader+8*i:]) }

func (n node) value(i int) []byte {
	at := nodeHeader + 8*n.max + n.valueSize*i
	return n.b[at : at+n.valueSize]
}

func (n node) child(i int) uint64 { return binary.LittleEndian.Uint64(n.value(i)) }

// parseNode checks b as the kernel does (dm-btree-spine.c, node_check), and also that its keys
// ascend.
func parseNode(b []byte, block uint64, leafValue int) (node, error) {
	if err := verify(b, block, nodeSalt); err != nil {
		return node{}, err
	}
	le := binary.LittleEndian
	if own := le.Uint64(b[8:]); own != block {
		return node{}, corrupt(block, "the node has the block number %d", own)
	}
	flags, entries, most, size := le.Uint32(b[4:]), le.Uint32(b[16:]), le.Uint32(b[20:]), le.Uint32(b[24:])
	want := uint32(8)
	switch flags {
	case flagInternal:
	case flagLeaf:
		want = uint32(leafValue)
	default:
		return node{}, corrupt(block, "node flags %#x are neither internal nor leaf", flags)
	}
	if size != want {
		return node{}, corrupt(block, "values of %d bytes instead of %d", size, want)
	}
	// In 64 bits: most comes from the disk and may have any value.
	if uint64(most)*uint64(8+size) > uint64(blockSize-nodeHeader) {
		return node{}, corrupt(block, "%d entries of %d bytes do not fit a node", most, 8+size)
	}
	if entries > most {
		return node{}, corrupt(block, "%d entries where %d fit", entries, most)
	}
	n := node{block: block, b: b, leaf: flags == flagLeaf, entries: int(entries), max: int(most), valueSize: int(size)}
	return n, n.ascending()
}

func (n node) ascending() error {
	keys := n.b[nodeHeader:][:8*n.entries]
	for i, last := 8, uint64(0); i <= len(keys); i += 8 {
		key := binary.LittleEndian.Uint64(keys[i-8:])
		if i > 8 && key <= last {
			return corrupt(n.block, "key %d follows %d", key, last)
		}
		last = key
	}
	return nil
}

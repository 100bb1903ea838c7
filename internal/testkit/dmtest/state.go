package dmtest

import (
	"sync/atomic"

	"thinctl/units"
)

const metadataBlock = 4 * units.KiB

// sequence gives node and transaction numbers that are never given twice.
type sequence struct{ last atomic.Uint64 }

func (s *sequence) next() uint64 { return s.last.Add(1) }

// mapping says where a virtual block lies and when it was written, in the
// pool's own time (dm-thin-metadata.c, pack_block_time).
type mapping struct {
	block uint64
	time  uint32
}

// detail is what a pool keeps per thin device (disk_device_details).
type detail struct {
	mapped      uint64
	created     uint32
	snapshotted uint32
}

// state is a pool's metadata. Copying the struct is taking a snapshot of it:
// all it points at is persistent.
type state struct {
	ids   *sequence
	epoch uint64

	blockSectors units.Sectors
	uuid         [16]byte
	trans        uint64
	time         uint32
	needsCheck   bool
	dataBlocks   uint64
	metaBlocks   uint64
	heldRoot     uint64                // the block that a metadata snapshot pretends to be in
	held         *node[*node[mapping]] // what it keeps alive
	heldState    *heldState

	top      *node[*node[mapping]] // thin id -> its mappings
	details  trie[detail]
	dataRefs trie[uint32] // data block -> leaves that point at it
	nodeRefs trie[uint32] // node id -> parents, where more than one
	nodes    uint64
}

// heldState is what a metadata snapshot says beside its mappings.
type heldState struct {
	number  uint64 // of the snapshot, never given twice
	trans   uint64
	time    uint32
	details trie[detail]
}

// mappings is the lower level of the tree, devices the upper.
func (s *state) mappings() btree[mapping] {
	return btree[mapping]{s: s,
		inc: func(m mapping) { s.incData(m.block) },
		dec: func(m mapping) { s.decData(m.block) },
	}
}

func (s *state) devices() btree[*node[mapping]] {
	lower := s.mappings()
	return btree[*node[mapping]]{s: s,
		inc: func(n *node[mapping]) { s.incNode(n.id) },
		dec: lower.release,
	}
}

func (s *state) incNode(id uint64) {
	count, ok := s.nodeRefs.get(id)
	if !ok {
		count = 1
	}
	s.nodeRefs = s.nodeRefs.set(id, count+1)
}

// decNode drops one reference and reports whether it was the last.
func (s *state) decNode(id uint64) bool {
	switch count, shared := s.nodeRefs.get(id); {
	case !shared:
		return true
	case count == 2:
		s.nodeRefs = s.nodeRefs.del(id)
	default:
		s.nodeRefs = s.nodeRefs.set(id, count-1)
	}
	return false
}

func (s *state) incData(block uint64) {
	count, _ := s.dataRefs.get(block)
	s.dataRefs = s.dataRefs.set(block, count+1)
}

func (s *state) decData(block uint64) {
	if count, _ := s.dataRefs.get(block); count > 1 {
		s.dataRefs = s.dataRefs.set(block, count-1)
		return
	}
	s.dataRefs = s.dataRefs.del(block)
}

// usedMeta models the metadata in use, in blocks: the tree nodes exactly as
// the kernel would have them after ascending writes, the device details at
// half-full leaves of 126, a bitmap per 16320 data blocks, and eight blocks for
// superblock, space maps and index.
func (s *state) usedMeta() uint64 {
	const fixed, detailsPerLeaf, bitmapEntries = 8, 63, 16320
	return fixed + s.nodes + s.details.len()/detailsPerLeaf + 1 + s.dataBlocks/bitmapEntries + 1
}

func newState(ids *sequence, block units.Sectors, metaBlocks uint64) state {
	s := state{ids: ids, epoch: ids.next(), blockSectors: block, metaBlocks: metaBlocks}
	s.top = s.devices().empty()
	return s
}

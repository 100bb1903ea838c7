package dmtest

import (
	"sync/atomic"

	"thinctl/units"
)

const metadataBlock = 4 * units.KiB

// sequence returns numbers for nodes and transactions, each only once.
type sequence struct{ last atomic.Uint64 }

func (s *sequence) next() uint64 { return s.last.Add(1) }

// mapping holds the data block of a virtual block, and the pool's time when it was
// written (dm-thin-metadata.c, pack_block_time).
type mapping struct {
	block uint64
	time  uint32
}

// detail holds the details of a thin device (struct disk_device_details).
type detail struct {
	mapped      uint64
	created     uint32
	snapshotted uint32
}

// state is a pool's metadata. A copy of the struct is a snapshot of the metadata,
// because the tries and the committed nodes never change.
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
	heldRoot     uint64                // block number that the status reports for a metadata snapshot
	held         *node[*node[mapping]] // the snapshot's tree
	heldState    *heldState

	top      *node[*node[mapping]] // thin id -> its mappings
	details  trie[detail]
	dataRefs trie[uint32] // data block -> number of leaves that refer to it
	nodeRefs trie[uint32] // node id -> number of parents, if there is more than one
	nodes    uint64
}

// heldState holds the data of a metadata snapshot other than its mappings.
type heldState struct {
	number  uint64 // no other snapshot has this number
	trans   uint64
	time    uint32
	details trie[detail]
}

// mappings returns the operations of the lower level of the tree, and devices those of
// the upper level.
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

// usedMeta returns a model of the metadata in use, in blocks. The number of tree nodes
// is exact for ascending writes. Device details are in half-full leaves of 126. There
// is one bitmap per 16320 data blocks, and eight blocks for the superblock, the space
// maps and the index.
func (s *state) usedMeta() uint64 {
	const fixed, detailsPerLeaf, bitmapEntries = 8, 63, 16320
	return fixed + s.nodes + s.details.len()/detailsPerLeaf + 1 + s.dataBlocks/bitmapEntries + 1
}

func newState(ids *sequence, block units.Sectors, metaBlocks uint64) state {
	s := state{ids: ids, epoch: ids.next(), blockSectors: block, metaBlocks: metaBlocks}
	s.top = s.devices().empty()
	return s
}

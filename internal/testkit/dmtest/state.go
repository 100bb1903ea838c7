package dmtest

import (
	"sync/atomic"

	"thinctl/units"
)

const metadataBlock = 4 * units.KiB

// sequence returns numbers for roots and metadata snapshots, each only once.
type sequence struct{ last atomic.Uint64 }

func (s *sequence) next() uint64 { return s.last.Add(1) }

// mapping holds the data block of a virtual block, and the pool's time when it was
// written (dm-thin-metadata.c, pack_block_time).
type mapping struct {
	block uint64
	time  uint32
}

// volume holds the metadata of a thin device: its mappings by virtual block, and its
// details (struct disk_device_details).
type volume struct {
	blocks      trie[mapping]
	created     uint32
	snapshotted uint32
}

// state is a pool's metadata. A copy of the struct is a snapshot of the metadata,
// because tries never change.
type state struct {
	blockSectors units.Sectors
	uuid         [16]byte
	root         uint64 // number of the commit, in the place of the mapping tree's root
	trans        uint64
	time         uint32
	needsCheck   bool
	dataBlocks   uint64
	metaBlocks   uint64

	volumes  trie[volume]
	dataRefs trie[uint32] // data block -> number of volumes that map it

	heldRoot uint64 // block number that the status reports for a metadata snapshot
	held     *heldState
	heldOnly uint64 // number of data blocks that only the metadata snapshot uses
}

// heldState is a metadata snapshot.
type heldState struct {
	number   uint64 // no other snapshot has this number
	trans    uint64
	time     uint32
	volumes  trie[volume]
	dataRefs trie[uint32]
}

// inUse reports whether a volume or the metadata snapshot uses a data block.
func (s *state) inUse(block uint64) bool {
	return s.dataRefs.has(block) || s.held != nil && s.held.dataRefs.has(block)
}

// usedData returns the number of data blocks in use.
func (s *state) usedData() uint64 { return s.dataRefs.len() + s.heldOnly }

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
	if s.held != nil && s.held.dataRefs.has(block) {
		s.heldOnly++
	}
}

// usedMeta returns a simple model of the metadata in use, in blocks. Tree nodes are half
// full, with 126 entries. Each volume has a node of its own, and details of which 63 share
// a block. The mappings of a data block take one entry, however many volumes share it.
// There is one bitmap per 16320 data blocks, and eight blocks for the superblock, the
// space maps and the index.
func (s *state) usedMeta() uint64 {
	const fixed, nodeEntries, detailsPerBlock, bitmapEntries = 8, 126, 63, 16320
	used := fixed + s.volumes.len() + s.volumes.len()/detailsPerBlock + 1 +
		s.usedData()/nodeEntries + 1 + s.dataBlocks/bitmapEntries + 1
	if s.held != nil {
		used++ // the copy of the superblock
	}
	return used
}

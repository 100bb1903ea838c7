package metadatatest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"thinctl/thinpool/metadata"
)

const blockSize = int(metadata.BlockSize)

// The offsets of the superblock's fields (dm-thin-metadata.c, struct
// thin_disk_superblock).
const (
	offFlags             = 4
	offBlock             = 8
	offMagic             = 32
	offVersion           = 40
	offTime              = 44
	offHeldRoot          = 56
	offDataSpaceMap      = 64
	offMetadataSpaceMap  = 192
	offMappingRoot       = 320
	offDetailsRoot       = 328
	offDataBlockSize     = 336
	offMetadataBlockSize = 340
	offCompatRO          = 356
	offIncompat          = 360
)

// view is a btree node or another block that is read without checks.
type view struct{ b []byte }

func (v view) u32(at int) uint32        { return binary.LittleEndian.Uint32(v.b[at:]) }
func (v view) u64(at int) uint64        { return binary.LittleEndian.Uint64(v.b[at:]) }
func (v view) setU32(at int, n uint32)  { binary.LittleEndian.PutUint32(v.b[at:], n) }
func (v view) setU64(at int, n uint64)  { binary.LittleEndian.PutUint64(v.b[at:], n) }
func (v view) leaf() bool               { return v.u32(4) == 2 }
func (v view) entries() int             { return int(v.u32(16)) }
func (v view) max() int                 { return int(v.u32(20)) }
func (v view) size() int                { return int(v.u32(24)) }
func (v view) key(i int) uint64         { return v.u64(32 + 8*i) }
func (v view) setKey(i int, k uint64)   { v.setU64(32+8*i, k) }
func (v view) valueAt(i int) int        { return 32 + 8*v.max() + v.size()*i }
func (v view) value(i int) []byte       { return v.b[v.valueAt(i):][:v.size()] }
func (v view) child(i int) uint64       { return v.u64(v.valueAt(i)) }
func (v view) setEntries(n int)         { v.setU32(16, uint32(n)) }
func (v view) setChild(i int, n uint64) { v.setU64(v.valueAt(i), n) }

// insert inserts an entry at i.
func (v view) insert(i int, key uint64, value []byte) {
	n := v.entries()
	copy(v.b[32+8*(i+1):32+8*(n+1)], v.b[32+8*i:32+8*n])
	copy(v.b[v.valueAt(i+1):v.valueAt(n+1)], v.b[v.valueAt(i):v.valueAt(n)])
	v.setKey(i, key)
	copy(v.b[v.valueAt(i):], value)
	v.setEntries(n + 1)
}

func (v view) remove(i int) {
	n := v.entries()
	copy(v.b[32+8*i:], v.b[32+8*(i+1):32+8*n])
	copy(v.b[v.valueAt(i):v.valueAt(n)], v.b[v.valueAt(i+1):v.valueAt(n)])
	v.setEntries(n - 1)
}

// treeBlock is a block of a tree, with one of its parents.
type treeBlock struct {
	block  uint64
	parent uint64 // 0: a superblock
	index  int    // index in the parent
	refs   int    // number of nodes that point to it
	leaf   bool
}

// The parts of the metadata.
const (
	partSuperblock   = "superblock"
	partHeld         = "held root"
	partTop          = "mapping tree's top level"
	partMapping      = "device's mapping tree"
	partDetails      = "details"
	partIndex        = "data index"
	partDataBitmap   = "data bitmap"
	partDataCounts   = "data counts"
	partMetaIndex    = "metadata index"
	partMetaBitmap   = "metadata bitmap"
	partMetaCounts   = "metadata counts"
	partHeldTop      = "held mapping tree's top level"
	partHeldMappings = "held device's mapping tree"
	partHeldDetails  = "held details"
)

// place is the position of a block in blockMap.parts.
type place struct {
	part string
	i    int
}

// blockMap holds the place of every block of sound metadata.
type blockMap struct {
	disk   Disk
	rng    *rand.Rand
	super  view
	parts  map[string][]treeBlock
	places map[uint64]place
}

func newBlockMap(disk Disk, rng *rand.Rand) (s *blockMap, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("metadatatest: the metadata is not sound: %v", r)
		}
	}()
	s = &blockMap{disk: disk, rng: rng, parts: make(map[string][]treeBlock), places: make(map[uint64]place)}
	s.super = s.read(0)
	if metadata.KindOf(s.super.b) != metadata.SuperblockBlock {
		panic("no superblock")
	}
	s.parts[partSuperblock] = []treeBlock{{}}
	s.top(s.super, partTop, partMapping, partDetails)
	s.tree(s.super.u64(offDataSpaceMap+16), partIndex, func(v view, i int) {
		s.parts[partDataBitmap] = append(s.parts[partDataBitmap], treeBlock{block: v.child(i), refs: 1})
	})
	s.tree(s.super.u64(offDataSpaceMap+24), partDataCounts, nil)
	index := s.super.u64(offMetadataSpaceMap + 16)
	s.parts[partMetaIndex] = []treeBlock{{block: index, refs: 1}}
	for i, v := uint64(0), s.read(index); i*16320 < s.super.u64(offMetadataSpaceMap); i++ {
		s.parts[partMetaBitmap] = append(s.parts[partMetaBitmap], treeBlock{block: v.u64(16 + 16*int(i)), refs: 1})
	}
	s.tree(s.super.u64(offMetadataSpaceMap+24), partMetaCounts, nil)
	if held := s.super.u64(offHeldRoot); held != 0 {
		s.parts[partHeld] = []treeBlock{{block: held, refs: 1}}
		s.top(s.read(held), partHeldTop, partHeldMappings, partHeldDetails)
	}
	return s, nil
}

func (s *blockMap) top(super view, top, mapping, details string) {
	s.tree(super.u64(offMappingRoot), top, func(v view, i int) { s.tree(v.child(i), mapping, nil) })
	s.tree(super.u64(offDetailsRoot), details, nil)
}

func (s *blockMap) tree(root uint64, part string, leafEntry func(view, int)) {
	s.node(treeBlock{block: root, refs: 1}, part, leafEntry)
}

func (s *blockMap) node(at treeBlock, part string, leafEntry func(view, int)) {
	if known, ok := s.places[at.block]; ok {
		s.parts[known.part][known.i].refs++
		return
	}
	s.places[at.block] = place{part, len(s.parts[part])}
	v := s.read(at.block)
	at.leaf = v.leaf()
	s.parts[part] = append(s.parts[part], at)
	for i := range v.entries() {
		if !at.leaf {
			s.node(treeBlock{block: v.child(i), parent: at.block, index: i, refs: 1}, part, leafEntry)
		} else if leafEntry != nil {
			leafEntry(v, i)
		}
	}
}

func (s *blockMap) read(block uint64) view {
	b := make([]byte, blockSize)
	if _, err := s.disk.ReadAt(b, int64(block)*int64(blockSize)); err != nil {
		panic(err)
	}
	return view{b}
}

func (s *blockMap) write(block uint64, v view) {
	if _, err := s.disk.WriteAt(v.b, int64(block)*int64(blockSize)); err != nil {
		panic(err)
	}
}

// edit changes a block and updates its checksum for the same kind of block.
func (s *blockMap) edit(block uint64, change func(view)) {
	v := s.read(block)
	kind := metadata.KindOf(v.b)
	change(v)
	metadata.SetChecksum(v.b, kind)
	s.write(block, v)
}

// pick returns a random block of part for which suits returns true.
func (s *blockMap) pick(part string, suits func(treeBlock, view) bool) (treeBlock, bool) {
	list := s.parts[part]
	for _, i := range s.rng.Perm(len(list)) {
		if suits == nil || suits(list[i], s.read(list[i].block)) {
			return list[i], true
		}
	}
	return treeBlock{}, false
}

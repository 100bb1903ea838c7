package metadatatest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"thinctl/thinpool/metadata"
)

const blockSize = int(metadata.BlockSize)

// Offsets of the superblock's fields (dm-thin-metadata.c, struct
// thin_disk_superblock).
const (
	atFlags         = 4
	atBlock         = 8
	atMagic         = 32
	atVersion       = 40
	atTime          = 44
	atHeld          = 56
	atDataMap       = 64
	atMetadataMap   = 192
	atMappingRoot   = 320
	atDetailsRoot   = 328
	atDataBlockSize = 336
	atBlockSize     = 340
	atCompatRO      = 356
	atIncompat      = 360
)

// view is a btree node or another block, read without any check.
type view struct{ b []byte }

func (v view) u32(at int) uint32        { return binary.LittleEndian.Uint32(v.b[at:]) }
func (v view) u64(at int) uint64        { return binary.LittleEndian.Uint64(v.b[at:]) }
func (v view) put32(at int, n uint32)   { binary.LittleEndian.PutUint32(v.b[at:], n) }
func (v view) put64(at int, n uint64)   { binary.LittleEndian.PutUint64(v.b[at:], n) }
func (v view) leaf() bool               { return v.u32(4) == 2 }
func (v view) entries() int             { return int(v.u32(16)) }
func (v view) max() int                 { return int(v.u32(20)) }
func (v view) size() int                { return int(v.u32(24)) }
func (v view) key(i int) uint64         { return v.u64(32 + 8*i) }
func (v view) setKey(i int, k uint64)   { v.put64(32+8*i, k) }
func (v view) valueAt(i int) int        { return 32 + 8*v.max() + v.size()*i }
func (v view) value(i int) []byte       { return v.b[v.valueAt(i):][:v.size()] }
func (v view) child(i int) uint64       { return v.u64(v.valueAt(i)) }
func (v view) setEntries(n int)         { v.put32(16, uint32(n)) }
func (v view) setChild(i int, n uint64) { v.put64(v.valueAt(i), n) }

// insert makes room at i and copies an entry in.
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

// spot is a block of a tree, and one that points at it.
type spot struct {
	block  uint64
	parent uint64 // 0: a superblock does
	index  int    // in the parent
	refs   int    // nodes that point at it
	leaf   bool
}

// Parts of the metadata.
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

// place is parts[part][i].
type place struct {
	part string
	i    int
}

// survey knows where everything is in good metadata.
type survey struct {
	disk  Disk
	rng   *rand.Rand
	super view
	parts map[string][]spot
	where map[uint64]place
}

func look(disk Disk, rng *rand.Rand) (s *survey, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("metadatatest: damage is for good metadata only: %v", r)
		}
	}()
	s = &survey{disk: disk, rng: rng, parts: make(map[string][]spot), where: make(map[uint64]place)}
	s.super = s.read(0)
	if metadata.KindOf(s.super.b) != metadata.SuperblockBlock {
		panic("no superblock")
	}
	s.parts[partSuperblock] = []spot{{}}
	s.top(s.super, partTop, partMapping, partDetails)
	s.tree(s.super.u64(atDataMap+16), partIndex, func(v view, i int) {
		s.parts[partDataBitmap] = append(s.parts[partDataBitmap], spot{block: v.child(i), refs: 1})
	})
	s.tree(s.super.u64(atDataMap+24), partDataCounts, nil)
	index := s.super.u64(atMetadataMap + 16)
	s.parts[partMetaIndex] = []spot{{block: index, refs: 1}}
	for i, v := uint64(0), s.read(index); i*16320 < s.super.u64(atMetadataMap); i++ {
		s.parts[partMetaBitmap] = append(s.parts[partMetaBitmap], spot{block: v.u64(16 + 16*int(i)), refs: 1})
	}
	s.tree(s.super.u64(atMetadataMap+24), partMetaCounts, nil)
	if held := s.super.u64(atHeld); held != 0 {
		s.parts[partHeld] = []spot{{block: held, refs: 1}}
		s.top(s.read(held), partHeldTop, partHeldMappings, partHeldDetails)
	}
	return s, nil
}

func (s *survey) top(super view, top, mapping, details string) {
	s.tree(super.u64(atMappingRoot), top, func(v view, i int) { s.tree(v.child(i), mapping, nil) })
	s.tree(super.u64(atDetailsRoot), details, nil)
}

func (s *survey) tree(root uint64, part string, leafEntry func(view, int)) {
	s.node(spot{block: root, refs: 1}, part, leafEntry)
}

func (s *survey) node(at spot, part string, leafEntry func(view, int)) {
	if known, ok := s.where[at.block]; ok {
		s.parts[known.part][known.i].refs++
		return
	}
	s.where[at.block] = place{part, len(s.parts[part])}
	v := s.read(at.block)
	at.leaf = v.leaf()
	s.parts[part] = append(s.parts[part], at)
	for i := range v.entries() {
		if !at.leaf {
			s.node(spot{block: v.child(i), parent: at.block, index: i, refs: 1}, part, leafEntry)
		} else if leafEntry != nil {
			leafEntry(v, i)
		}
	}
}

func (s *survey) read(block uint64) view {
	b := make([]byte, blockSize)
	if _, err := s.disk.ReadAt(b, int64(block)*int64(blockSize)); err != nil {
		panic(err)
	}
	return view{b}
}

func (s *survey) write(block uint64, v view) {
	if _, err := s.disk.WriteAt(v.b, int64(block)*int64(blockSize)); err != nil {
		panic(err)
	}
}

// edit changes a block and seals it as the kind that it was.
func (s *survey) edit(block uint64, change func(view)) {
	v := s.read(block)
	kind := metadata.KindOf(v.b)
	change(v)
	metadata.SetChecksum(v.b, kind)
	s.write(block, v)
}

// pick returns one of part's blocks that suits.
func (s *survey) pick(part string, suits func(spot, view) bool) (spot, bool) {
	list := s.parts[part]
	for _, i := range s.rng.Perm(len(list)) {
		if suits == nil || suits(list[i], s.read(list[i].block)) {
			return list[i], true
		}
	}
	return spot{}, false
}

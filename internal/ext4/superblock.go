package ext4

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

var le = binary.LittleEndian

const (
	superblockAt   = 1024
	superblockSize = 1024
	maxLogBlock    = 6 // blocks of 64 KiB
	leastInode     = 128
	leastGroup     = 32 // bytes of a group descriptor without 64bit
	mostGroup      = 1024
)

// Features (EXT4_FEATURE_*). A file system with other incompatible features, or with
// other features that prevent writing, may keep its state in ways that are unknown here.
const (
	compatSparseSuper2 = 0x200

	incompatFiletype   = 0x2
	incompatRecover    = 0x4
	incompatMetaGroups = 0x10
	incompatExtents    = 0x40
	incompat64bit      = 0x80
	incompatFlexGroups = 0x200
	incompatSeed       = 0x2000
	incompatLargeDir   = 0x4000
	incompatInlineData = 0x8000
	incompatKnown      = incompatFiletype | incompatMetaGroups | incompatExtents | incompat64bit |
		incompatFlexGroups | incompatSeed | incompatLargeDir | incompatInlineData

	roSparseSuper      = 0x1
	roLargeFile        = 0x2
	roHugeFile         = 0x8
	roGroupChecksum    = 0x10
	roDirLinks         = 0x20
	roExtraSize        = 0x40
	roQuota            = 0x100
	roBigAlloc         = 0x200
	roMetadataChecksum = 0x400
	roReadOnly         = 0x1000
	roProject          = 0x2000
	roVerity           = 0x8000
	roOrphanPresent    = 0x10000
	roKnown            = roSparseSuper | roLargeFile | roHugeFile | roGroupChecksum | roDirLinks | roExtraSize |
		roQuota | roBigAlloc | roMetadataChecksum | roReadOnly | roProject | roVerity | roOrphanPresent
)

// origin has the properties that both file systems must have in common.
type origin struct {
	uuid           [16]byte
	formatted      uint32 // the time of mkfs
	checked        uint32 // the time of the last e2fsck, which repairs directories without their inodes
	blockSize      uint64
	firstBlock     uint64
	inodeSize      uint64
	blocksPerGroup uint64
	inodesPerGroup uint64
	groupsPerFlex  uint64
}

// superblock is the part of struct ext4_super_block that is used here.
type superblock struct {
	origin
	blocks     uint64
	inodes     uint64
	groupCount uint64

	compat, incompat, roCompat uint32

	descriptorSize uint64
	firstMetaGroup uint64 // in blocks of descriptors
	backups        [2]uint32
	firstInode     uint32
	nameless       [5]uint32 // inodes without a name: quotas, the journal, the list of orphans; 0 is none
}

// readSuperblock reads and checks the superblock.
func (fs *fileSystem) readSuperblock() error {
	b := make([]byte, superblockSize)
	if err := fs.read(b, superblockAt); err != nil {
		return err
	}
	u16 := func(at int) uint64 { return uint64(le.Uint16(b[at:])) }
	u32 := func(at int) uint64 { return uint64(le.Uint32(b[at:])) }
	if u16(0x38) != 0xef53 {
		return fs.unsupported("it is not an ext4 file system")
	}
	sb := &fs.superblock
	sb.compat, sb.incompat, sb.roCompat = le.Uint32(b[0x5c:]), le.Uint32(b[0x60:]), le.Uint32(b[0x64:])
	const valid, faulty = 1, 2 // EXT4_VALID_FS, EXT4_ERROR_FS
	switch state := u16(0x3a); {
	case u32(0x4c) != 1 || u32(0x48) != 0:
		return fs.unsupported("revision %d of operating system %d", u32(0x4c), u32(0x48))
	case sb.incompat&incompatRecover != 0:
		return fs.unsupported("its journal must be replayed")
	case state&valid == 0 || state&faulty != 0:
		return fs.unsupported("its state is %#x: it must be checked", state)
	case sb.incompat&^incompatKnown != 0:
		return fs.unsupported("unknown incompatible features %#x", sb.incompat&^incompatKnown)
	case sb.roCompat&^roKnown != 0:
		return fs.unsupported("unknown read-only features %#x", sb.roCompat&^roKnown)
	case u32(0x18) > maxLogBlock || b[0x174] > 31:
		return fs.unsupported("a block size of 2^(10+%d), and 2^%d groups together", u32(0x18), b[0x174])
	}
	sb.origin = origin{
		uuid: [16]byte(b[0x68:]), formatted: le.Uint32(b[0x108:]), checked: le.Uint32(b[0x40:]),
		blockSize: 1024 << u32(0x18), firstBlock: u32(0x14), inodeSize: u16(0x58),
		blocksPerGroup: u32(0x20), inodesPerGroup: u32(0x28), groupsPerFlex: 1,
	}
	if sb.incompat&incompatFlexGroups != 0 {
		sb.groupsPerFlex <<= b[0x174]
	}
	sb.blocks, sb.inodes, sb.descriptorSize = u32(0x4), u32(0), leastGroup
	if sb.incompat&incompat64bit != 0 {
		sb.blocks |= u32(0x150) << 32
		sb.descriptorSize = u16(0xfe)
	}
	if sb.incompat&incompatMetaGroups != 0 {
		sb.firstMetaGroup = u32(0x104)
	}
	sb.backups = [2]uint32{le.Uint32(b[0x24c:]), le.Uint32(b[0x250:])}
	sb.firstInode = le.Uint32(b[0x54:])
	for i, at := range []int{0xe0, 0x240, 0x244, 0x26c, 0x280} {
		sb.nameless[i] = le.Uint32(b[at:])
	}
	return fs.checkGeometry()
}

// checkGeometry checks what later calculations rely on. No product of two of these
// numbers overflows after it.
func (fs *fileSystem) checkGeometry() error {
	sb := &fs.superblock
	power := func(n uint64) bool { return bits.OnesCount64(n) == 1 }
	switch {
	case sb.firstBlock > 1 || sb.firstBlock >= sb.blocks || sb.blocks > math.MaxInt64/sb.blockSize:
		return fs.unsupported("%d blocks from block %d on", sb.blocks, sb.firstBlock)
	case !power(sb.inodeSize) || sb.inodeSize < leastInode || sb.inodeSize > sb.blockSize:
		return fs.unsupported("inodes of %d bytes", sb.inodeSize)
	case !power(sb.descriptorSize) || sb.descriptorSize < leastGroup || sb.descriptorSize > mostGroup:
		return fs.unsupported("group descriptors of %d bytes", sb.descriptorSize)
	case sb.blocksPerGroup == 0 || sb.inodesPerGroup == 0 || sb.inodesPerGroup > 8*sb.blockSize:
		return fs.unsupported("groups of %d blocks and %d inodes", sb.blocksPerGroup, sb.inodesPerGroup)
	case sb.firstInode <= rootInode:
		return fs.unsupported("inode %d is the first that is not reserved", sb.firstInode)
	}
	sb.groupCount = (sb.blocks - sb.firstBlock + sb.blocksPerGroup - 1) / sb.blocksPerGroup
	if sb.groupCount > 1<<32 || sb.groupCount*sb.inodesPerGroup != sb.inodes {
		return fs.unsupported("%d groups of %d inodes, and %d inodes", sb.groupCount, sb.inodesPerGroup, sb.inodes)
	}
	return nil
}

// isNameless reports whether an inode belongs to the file system itself.
func (sb *superblock) isNameless(number uint32) bool {
	if number == rootInode {
		return false
	}
	return number < sb.firstInode || slices.Contains(sb.nameless[:], number)
}

package dmtest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"golang.org/x/sys/unix"
)

// The superblock's layout (drivers/md/dm-thin-metadata.c,
// struct thin_disk_superblock).
const (
	superblockMagic   = 27022010
	superblockSalt    = 160774
	superblockVersion = 2
	needsCheckFlag    = 1

	offFlags     = 4
	offBlock     = 8
	offUUID      = 16
	offMagic     = 32
	offVersion   = 40
	offTime      = 44
	offTrans     = 48
	offHeld      = 56
	offDataMap   = 64
	offMetaMap   = 192
	offMapRoot   = 320
	offDetails   = 328
	offDataBlock = 336
	offMetaBlock = 340
	offMetaTotal = 344
	offToken     = 1024 // after the struct: the checksum covers it, but the kernel does not read it
)

// token identifies a committed state in a [Store]. It is in the superblock.
type token [16]byte

func superblockSum(b []byte) uint32 {
	return ^crc32.Checksum(b[4:], crc32.MakeTable(crc32.Castagnoli)) ^ superblockSalt
}

func encodeSuperblock(s *state, t token) []byte {
	b := make([]byte, metadataBlock)
	le := binary.LittleEndian
	if s.needsCheck {
		le.PutUint32(b[offFlags:], needsCheckFlag)
	}
	copy(b[offUUID:], s.uuid[:])
	copy(b[offToken:], t[:])
	le.PutUint64(b[offMagic:], superblockMagic)
	le.PutUint32(b[offVersion:], superblockVersion)
	le.PutUint32(b[offTime:], s.time)
	le.PutUint64(b[offTrans:], s.trans)
	le.PutUint64(b[offHeld:], s.heldRoot)
	le.PutUint64(b[offDataMap:], s.dataBlocks)
	le.PutUint64(b[offDataMap+8:], s.usedData())
	le.PutUint64(b[offMetaMap:], s.metaBlocks)
	le.PutUint64(b[offMetaMap+8:], s.usedMeta())
	le.PutUint64(b[offMapRoot:], s.root)
	le.PutUint64(b[offDetails:], s.root+1)
	le.PutUint32(b[offDataBlock:], uint32(s.blockSectors))
	le.PutUint32(b[offMetaBlock:], uint32(metadataBlock.Sectors()))
	le.PutUint64(b[offMetaTotal:], s.metaBlocks)
	le.PutUint32(b, superblockSum(b))
	return b
}

// checkSuperblock returns the token, or the errno of the kernel's sb_check, whose order
// of checks it keeps.
func checkSuperblock(b []byte) (token, error) {
	le := binary.LittleEndian
	switch {
	case le.Uint64(b[offBlock:]) != 0:
		return token{}, unix.ENOTBLK
	case le.Uint64(b[offMagic:]) != superblockMagic, le.Uint32(b) != superblockSum(b):
		return token{}, unix.EILSEQ
	}
	return token(b[offToken : offToken+16]), nil
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

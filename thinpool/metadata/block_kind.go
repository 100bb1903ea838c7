package metadata

import "encoding/binary"

// BlockKind is the kind of a metadata block, which its checksum depends on. The zero value
// stands for a block that is unused or damaged.
type BlockKind uint32

// The kinds of blocks.
const (
	SuperblockBlock = BlockKind(superblockSalt)
	NodeBlock       = BlockKind(nodeSalt)
	BitmapBlock     = BlockKind(bitmapSalt)
	IndexBlock      = BlockKind(indexSalt) // the metadata space map's index
)

func (k BlockKind) String() string { return salt(k).String() }

// SetChecksum writes into b, a whole metadata block, the checksum of its content as a block of
// kind.
func SetChecksum(b []byte, kind BlockKind) { setChecksum(b[:blockSize], salt(kind)) }

// KindOf returns the kind of block that the checksum of b, a whole metadata block, fits.
func KindOf(b []byte) BlockKind {
	kind := BlockKind(binary.LittleEndian.Uint32(b) ^ checksum(b[:blockSize], 0))
	switch kind {
	case SuperblockBlock, NodeBlock, BitmapBlock, IndexBlock:
		return kind
	}
	return 0
}

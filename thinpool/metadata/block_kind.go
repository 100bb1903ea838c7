package metadata

import "encoding/binary"

// BlockKind is what a metadata block holds, as its checksum tells. The zero
// value is no kind: a block that is not in use, or damaged.
type BlockKind uint32

const (
	SuperblockBlock = BlockKind(superblockSalt)
	NodeBlock       = BlockKind(nodeSalt)
	BitmapBlock     = BlockKind(bitmapSalt)
	IndexBlock      = BlockKind(indexSalt) // the metadata space map's index
)

func (k BlockKind) String() string { return salt(k).String() }

// SetChecksum puts into b, a whole metadata block, the checksum that its content has
// as a block of kind.
func SetChecksum(b []byte, kind BlockKind) { seal(b[:blockSize], salt(kind)) }

// KindOf tells which kind of block b, a whole one, is sealed as.
func KindOf(b []byte) BlockKind {
	kind := BlockKind(binary.LittleEndian.Uint32(b) ^ checksum(b[:blockSize], 0))
	switch kind {
	case SuperblockBlock, NodeBlock, BitmapBlock, IndexBlock:
		return kind
	}
	return 0
}

package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unsafe"

	"thinctl/units"
)

// BlockSize is the size of a metadata block (THIN_METADATA_BLOCK_SIZE).
const BlockSize = 4 * units.KiB

// MaxBlocks is the largest number of metadata blocks of a pool: 255 bitmaps of 16320 entries,
// as many as one index block holds (dm-thin-metadata.h, THIN_METADATA_MAX_SECTORS).
const MaxBlocks = 255 * 16320

const blockSize = int(BlockSize)

// salt distinguishes the checksums of the kinds of blocks.
type salt uint32

const (
	superblockSalt salt = 160774
	nodeSalt       salt = 121107
	bitmapSalt     salt = 240779
	indexSalt      salt = 160478
)

func (s salt) String() string {
	switch s {
	case superblockSalt:
		return "a superblock"
	case nodeSalt:
		return "a btree node"
	case bitmapSalt:
		return "a space map bitmap"
	case indexSalt:
		return "a space map index"
	}
	return "an unknown kind of block"
}

// castagnoli returns the table, which package crc32 makes only once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// checksum is dm_bm_checksum (persistent-data/dm-block-manager.c): crc32c with an initial value
// of all ones and without the final inversion, over all bytes after the checksum.
func checksum(b []byte, s salt) uint32 {
	return ^crc32.Checksum(b[4:], castagnoli()) ^ uint32(s)
}

func setChecksum(b []byte, s salt) { binary.LittleEndian.PutUint32(b, checksum(b, s)) }

func verify(b []byte, block uint64, want salt) error {
	stored, computed := binary.LittleEndian.Uint32(b), checksum(b, want)
	if stored == computed {
		return nil
	}
	found := fmt.Sprintf("stored %#08x, computed %#08x", stored, computed)
	if is := salt(stored ^ computed ^ uint32(want)); is.String() != salt(0).String() {
		found = fmt.Sprintf("%s where %s was expected", is, want)
	}
	return &BlockError{Block: block, Kind: ErrChecksum, Found: found}
}

// newBlock returns a block at an address that O_DIRECT accepts.
func newBlock() []byte { return aligned(blockSize) }

// Aligned returns size bytes, a multiple of BlockSize, at an address that O_DIRECT accepts: a
// read into them needs no copy.
func Aligned(size int) []byte { return aligned(size) }

func aligned(size int) []byte {
	b := make([]byte, size+blockSize)
	rest := int(uintptr(unsafe.Pointer(&b[0])) % uintptr(blockSize))
	skip := (blockSize - rest) % blockSize
	return b[skip : skip+size : skip+size]
}

func isAligned(b []byte) bool {
	return len(b) > 0 && uintptr(unsafe.Pointer(&b[0]))%uintptr(blockSize) == 0
}

// readBlock reads a block into b and does not check it.
func readBlock(r io.ReaderAt, block uint64, b []byte) error {
	if block >= MaxBlocks {
		return corrupt(block, "the block number is not below the maximum of %d blocks", uint64(MaxBlocks))
	}
	n, err := r.ReadAt(b, int64(block)*int64(blockSize))
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return &BlockError{Block: block, Kind: ErrTruncated, Err: io.ErrUnexpectedEOF,
			Found: fmt.Sprintf("%d of %d bytes", n, len(b))}
	}
	return &BlockError{Block: block, Err: err}
}

package metadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"thinctl/fault"
	"thinctl/units"
)

const superblockMagic = 27022010

// Offsets of the superblock's fields (dm-thin-metadata.c, struct
// thin_disk_superblock).
const (
	offFlags             = 4
	offBlock             = 8
	offUUID              = 16
	offMagic             = 32
	offVersion           = 40
	offTime              = 44
	offTransaction       = 48
	offHeldRoot          = 56
	offDataSpaceMap      = 64
	offMetadataSpaceMap  = 192
	offMappingRoot       = 320
	offDetailsRoot       = 328
	offDataBlockSize     = 336
	offMetadataBlockSize = 340
	offMetadataBlocks    = 344
	offCompat            = 352
	offCompatRO          = 356
	offIncompat          = 360
)

// flagNeedsCheck is THIN_METADATA_NEEDS_CHECK_FLAG.
const flagNeedsCheck = 1

// Superblock is a pool's live superblock, or its copy in a held root.
type Superblock struct {
	Block uint64 // its own block number; 0 for the live one
	Flags uint32
	UUID  [16]byte // zeros before WriteUUID

	Version uint32
	// Time grows by one with each snapshot. TransactionID belongs to userspace.
	Time          uint32
	TransactionID uint64
	HeldRoot      uint64 // 0: no held root

	DataSpaceMap     SpaceMap // zeros in a held root
	MetadataSpaceMap SpaceMap // zeros in a held root
	MappingRoot      uint64
	DetailsRoot      uint64

	DataBlockSize     units.Sectors
	MetadataBlockSize units.Sectors
	// MetadataBlocks is written when the pool is formatted and not updated by a resize: use
	// MetadataSpaceMap.Blocks.
	MetadataBlocks uint64

	Compat, CompatRO, Incompat uint32
}

// SpaceMap is the root of a space map.
type SpaceMap struct {
	Blocks, Allocated        uint64
	BitmapRoot, RefCountRoot uint64
}

// NeedsCheck reports whether an operation failed in the kernel, which then writes no metadata
// until it is checked.
func (s Superblock) NeedsCheck() bool { return s.Flags&flagNeedsCheck != 0 }

// ReadSuperblock reads and verifies the live superblock at block 0.
func ReadSuperblock(r io.ReaderAt) (Superblock, error) {
	s, _, err := readSuperblock(r, 0)
	if err != nil {
		return Superblock{}, fmt.Errorf("read superblock: %w", err)
	}
	return s, nil
}

// HeldRoot reads and verifies a held root: the copy of the superblock at block, which the
// pool's status reports.
func HeldRoot(r io.ReaderAt, block uint64) (Superblock, error) {
	s, err := heldRoot(r, block)
	if err != nil {
		return Superblock{}, fmt.Errorf("read held root at block %d: %w", block, err)
	}
	return s, nil
}

func heldRoot(r io.ReaderAt, block uint64) (Superblock, error) {
	if block == 0 {
		return Superblock{}, errors.New("block 0 is the live superblock: reserve a metadata snapshot first")
	}
	s, _, err := readSuperblock(r, block)
	if err == nil && s.HeldRoot != 0 {
		// __reserve_metadata_snap zeroes it in the copy.
		err = corrupt(block, "the held root has a held root, at block %d", s.HeldRoot)
	}
	return s, err
}

func readSuperblock(r io.ReaderAt, block uint64) (Superblock, []byte, error) {
	b := newBlock()
	if err := readBlock(r, block, b); err != nil {
		return Superblock{}, nil, err
	}
	if err := checkSuperblock(b, block); err != nil {
		return Superblock{}, nil, err
	}
	return decodeSuperblock(b), b, nil
}

func checkSuperblock(b []byte, block uint64) error {
	le := binary.LittleEndian
	if bytes.Count(b, []byte{0}) == len(b) {
		return &BlockError{Block: block, Kind: ErrEmpty, Found: fmt.Sprintf("%d zero bytes", len(b))}
	}
	if magic := le.Uint64(b[offMagic:]); magic != superblockMagic {
		return &BlockError{Block: block, Kind: ErrNotMetadata,
			Found: fmt.Sprintf("magic %d instead of %d; the block begins with % x", magic, superblockMagic, b[:16])}
	}
	if err := verify(b, block, superblockSalt); err != nil {
		return err
	}
	if own := le.Uint64(b[offBlock:]); own != block {
		return corrupt(block, "the superblock has the block number %d", own)
	}
	// The kernel writes version 2; old kernels wrote 1. It rejects all incompatible
	// features (dm-thin-metadata.c, __check_incompat_features).
	version, incompat := le.Uint32(b[offVersion:]), le.Uint32(b[offIncompat:])
	if version != 1 && version != 2 {
		return &BlockError{Block: block, Kind: fault.Unsupported, Found: fmt.Sprintf("version %d, want 1 or 2", version)}
	}
	if incompat != 0 {
		return &BlockError{Block: block, Kind: fault.Unsupported, Found: fmt.Sprintf("incompatible features %#x", incompat)}
	}
	// dm-thin.h: DATA_DEV_BLOCK_SIZE_MIN_SECTORS and _MAX_SECTORS.
	if size := le.Uint32(b[offDataBlockSize:]); size < 128 || size > 2097152 || size%128 != 0 {
		return corrupt(block, "data blocks of %d sectors", size)
	}
	return nil
}

func decodeSuperblock(b []byte) Superblock {
	le := binary.LittleEndian
	s := Superblock{
		Block:             le.Uint64(b[offBlock:]),
		Flags:             le.Uint32(b[offFlags:]),
		Version:           le.Uint32(b[offVersion:]),
		Time:              le.Uint32(b[offTime:]),
		TransactionID:     le.Uint64(b[offTransaction:]),
		HeldRoot:          le.Uint64(b[offHeldRoot:]),
		DataSpaceMap:      decodeSpaceMap(b[offDataSpaceMap:]),
		MetadataSpaceMap:  decodeSpaceMap(b[offMetadataSpaceMap:]),
		MappingRoot:       le.Uint64(b[offMappingRoot:]),
		DetailsRoot:       le.Uint64(b[offDetailsRoot:]),
		DataBlockSize:     units.Sectors(le.Uint32(b[offDataBlockSize:])),
		MetadataBlockSize: units.Sectors(le.Uint32(b[offMetadataBlockSize:])),
		MetadataBlocks:    le.Uint64(b[offMetadataBlocks:]),
		Compat:            le.Uint32(b[offCompat:]),
		CompatRO:          le.Uint32(b[offCompatRO:]),
		Incompat:          le.Uint32(b[offIncompat:]),
	}
	copy(s.UUID[:], b[offUUID:])
	return s
}

// decodeSpaceMap reads struct disk_sm_root (persistent-data/dm-space-map-common.h).
func decodeSpaceMap(b []byte) SpaceMap {
	le := binary.LittleEndian
	return SpaceMap{
		Blocks: le.Uint64(b), Allocated: le.Uint64(b[8:]),
		BitmapRoot: le.Uint64(b[16:]), RefCountRoot: le.Uint64(b[24:]),
	}
}

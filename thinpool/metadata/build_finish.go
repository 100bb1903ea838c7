package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Finish writes the trees of devices, the space maps, and then the superblock. If the writer
// has a Sync method, Finish calls it before it writes the superblock; the caller syncs after
// that. After an error the device has no superblock.
func (b *Builder) Finish() (Superblock, error) {
	s, err := b.finish()
	if err != nil {
		return Superblock{}, fmt.Errorf("build metadata: %w", err)
	}
	return s, nil
}

func (b *Builder) finish() (Superblock, error) {
	if b.finished {
		return Superblock{}, errors.New("Finish was called before")
	}
	b.finished = true
	mapping, details, err := b.roots()
	if err != nil {
		return Superblock{}, err
	}
	s := b.superblock(mapping, details)
	if s.DataSpaceMap, err = b.dataSpaceMap(); err != nil {
		return Superblock{}, err
	}
	if s.MetadataSpaceMap, err = b.metadataSpaceMap(); err != nil {
		return Superblock{}, err
	}
	if b.out.full() {
		return Superblock{}, &SpaceError{Need: b.need(), Have: b.o.MetadataBlocks}
	}
	if orphans := b.out.taken - b.dropped - b.metadata.used; orphans != 0 {
		return Superblock{}, fmt.Errorf("%d nodes belong to no device", orphans)
	}
	if err := b.out.flush(); err != nil {
		return Superblock{}, err
	}
	if w, ok := b.out.w.(interface{ Sync() error }); ok {
		if err := w.Sync(); err != nil {
			return Superblock{}, fmt.Errorf("sync before writing the superblock: %w", err)
		}
	}
	return s, b.writeSuperblock(s)
}

// need returns the smallest number of blocks that hold everything written and their own
// bitmaps.
func (b *Builder) need() uint64 {
	other := b.out.taken - bitmapsFor(b.o.MetadataBlocks)
	n := other + 1
	for n < other+bitmapsFor(n) {
		n = other + bitmapsFor(n)
	}
	return n
}

func (b *Builder) superblock(mapping, details uint64) Superblock {
	s := Superblock{
		UUID: b.o.UUID, Version: b.o.Version, Time: b.o.Time, TransactionID: b.o.TransactionID,
		HeldRoot: b.held, MappingRoot: mapping, DetailsRoot: details,
		DataBlockSize: b.o.DataBlockSize, MetadataBlockSize: BlockSize.Sectors(), MetadataBlocks: b.o.MetadataBlocks,
	}
	if b.o.NeedsCheck {
		s.Flags |= flagNeedsCheck
	}
	return s
}

func (b *Builder) writeSuperblock(s Superblock) error {
	block, err := b.out.slot(s.Block)
	if err != nil {
		return err
	}
	encodeSuperblock(block, s)
	return b.out.flush()
}

func encodeSuperblock(b []byte, s Superblock) {
	le := binary.LittleEndian
	le.PutUint32(b[offFlags:], s.Flags)
	le.PutUint64(b[offBlock:], s.Block)
	copy(b[offUUID:], s.UUID[:])
	le.PutUint64(b[offMagic:], superblockMagic)
	le.PutUint32(b[offVersion:], s.Version)
	le.PutUint32(b[offTime:], s.Time)
	le.PutUint64(b[offTransaction:], s.TransactionID)
	le.PutUint64(b[offHeldRoot:], s.HeldRoot)
	encodeSpaceMap(b[offDataSpaceMap:], s.DataSpaceMap)
	encodeSpaceMap(b[offMetadataSpaceMap:], s.MetadataSpaceMap)
	le.PutUint64(b[offMappingRoot:], s.MappingRoot)
	le.PutUint64(b[offDetailsRoot:], s.DetailsRoot)
	le.PutUint32(b[offDataBlockSize:], uint32(s.DataBlockSize))
	le.PutUint32(b[offMetadataBlockSize:], uint32(s.MetadataBlockSize))
	le.PutUint64(b[offMetadataBlocks:], s.MetadataBlocks)
	le.PutUint32(b[offCompat:], s.Compat)
	le.PutUint32(b[offCompatRO:], s.CompatRO)
	le.PutUint32(b[offIncompat:], s.Incompat)
	setChecksum(b, superblockSalt)
}

func encodeSpaceMap(b []byte, m SpaceMap) {
	le := binary.LittleEndian
	le.PutUint64(b, m.Blocks)
	le.PutUint64(b[8:], m.Allocated)
	le.PutUint64(b[16:], m.BitmapRoot)
	le.PutUint64(b[24:], m.RefCountRoot)
}

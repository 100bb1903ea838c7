package metadata

import "encoding/binary"

// dataSpaceMap writes the bitmaps of the data device, the btree of their index and the btree of
// counts over 2.
func (b *Builder) dataSpaceMap() (SpaceMap, error) {
	index := b.leaves(indexEntrySize, nil)
	var entry [indexEntrySize]byte
	for n := range bitmapsFor(b.o.DataBlocks) {
		block, err := b.newBlock()
		if err != nil {
			return SpaceMap{}, err
		}
		if err := b.bitmap(b.data, int(n), block, entry[:]); err != nil {
			return SpaceMap{}, err
		}
		if err := index.add(n, entry[:]...); err != nil {
			return SpaceMap{}, err
		}
	}
	root, err := index.root()
	if err != nil {
		return SpaceMap{}, err
	}
	b.metadata.add(root.block)
	counts, err := b.overflow(b.data)
	return SpaceMap{Blocks: b.o.DataBlocks, Allocated: b.data.used, BitmapRoot: root.block, RefCountRoot: counts}, err
}

// metadataSpaceMap writes the metadata space map, which also counts its own blocks, and is
// therefore the last. Each of these has one reference, so the counts over 2 are final before
// the first of them is allocated, and the bitmaps are final after the last.
func (b *Builder) metadataSpaceMap() (SpaceMap, error) {
	counts, err := b.overflow(b.metadata)
	if err != nil {
		return SpaceMap{}, err
	}
	index, err := b.newBlock()
	if err != nil {
		return SpaceMap{}, err
	}
	blocks := make([]uint64, bitmapsFor(b.o.MetadataBlocks))
	for i := range blocks {
		if blocks[i], err = b.newBlock(); err != nil {
			return SpaceMap{}, err
		}
	}
	entries := make([]byte, blockSize-bitmapHeader)
	for i, block := range blocks {
		if err := b.bitmap(b.metadata, i, block, entries[i*indexEntrySize:]); err != nil {
			return SpaceMap{}, err
		}
	}
	node, err := b.out.slot(index)
	if err != nil {
		return SpaceMap{}, err
	}
	// Entries beyond the last bitmap are zeros (dm-space-map-common.c,
	// sm_ll_new_metadata).
	binary.LittleEndian.PutUint64(node[8:], index)
	copy(node[bitmapHeader:], entries)
	setChecksum(node, indexSalt)
	return SpaceMap{Blocks: b.o.MetadataBlocks, Allocated: b.metadata.used, BitmapRoot: index, RefCountRoot: counts}, nil
}

// newBlock allocates a block with one reference.
func (b *Builder) newBlock() (uint64, error) {
	block, err := b.out.alloc()
	if err == nil {
		b.metadata.add(block)
	}
	return block, err
}

func (b *Builder) bitmap(t *refCounter, n int, block uint64, entry []byte) error {
	if b.out.full() {
		return nil
	}
	slot, err := b.out.slot(block)
	if err != nil {
		return err
	}
	t.encode(n, block, slot, entry)
	setChecksum(slot, bitmapSalt)
	return nil
}

// overflow writes the btree of counts over 2.
func (b *Builder) overflow(t *refCounter) (uint64, error) {
	l := b.leaves(4, nil)
	for block, count := range t.overflow() {
		if err := l.add(block, binary.LittleEndian.AppendUint32(nil, count)...); err != nil {
			return 0, err
		}
	}
	root, err := l.root()
	if err != nil {
		return 0, err
	}
	b.metadata.add(root.block)
	return root.block, nil
}

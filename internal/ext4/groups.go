package ext4

// group is the part of a block group's descriptor (struct ext4_group_desc) that is used
// here.
type group struct {
	table       uint64 // the byte offset of the inode table
	used        uint64 // inodes; those after them were never used
	directories uint64
}

// readGroups reads the group descriptors.
func (fs *fileSystem) readGroups() error {
	block := make([]byte, fs.blockSize)
	perBlock := fs.blockSize / fs.descriptorSize
	for i := uint64(0); i*perBlock < fs.groupCount; i++ {
		if err := fs.readBlock(block, fs.descriptorBlock(i, perBlock)); err != nil {
			return err
		}
		for j := uint64(0); j < perBlock && i*perBlock+j < fs.groupCount; j++ {
			g, err := fs.parseGroup(i*perBlock+j, block[j*fs.descriptorSize:][:fs.descriptorSize])
			if err != nil {
				return err
			}
			fs.groups = append(fs.groups, g)
		}
	}
	return nil
}

// descriptorBlock returns the place of a block of descriptors: behind the superblock,
// or with meta_bg in the first of the groups that it describes (descriptor_loc in
// fs/ext4/super.c).
func (fs *fileSystem) descriptorBlock(i, perBlock uint64) uint64 {
	super := superblockAt / fs.blockSize
	if fs.incompat&incompatMetaGroups == 0 || i < fs.firstMetaGroup {
		return super + 1 + i
	}
	first := i * perBlock
	at := fs.firstBlock + first*fs.blocksPerGroup
	if fs.hasSuperblock(first) {
		at++
	}
	if fs.blockSize == 1024 && i == 0 && fs.firstBlock == 0 {
		at++ // the superblock is in block 1
	}
	return at
}

// hasSuperblock reports whether a group begins with a copy of the superblock.
func (fs *fileSystem) hasSuperblock(group uint64) bool {
	switch {
	case group == 0:
		return true
	case fs.compat&compatSparseSuper2 != 0:
		return group == uint64(fs.backups[0]) || group == uint64(fs.backups[1])
	case group == 1 || fs.roCompat&roSparseSuper == 0:
		return true
	}
	for _, base := range []uint64{3, 5, 7} {
		power := base
		for power < group {
			power *= base
		}
		if power == group {
			return true
		}
	}
	return false
}

func (fs *fileSystem) parseGroup(number uint64, b []byte) (group, error) {
	const wide = 64 // bytes of a descriptor with the upper halves of its numbers
	u16 := func(low, high int) uint64 {
		n := uint64(le.Uint16(b[low:]))
		if len(b) >= wide {
			n |= uint64(le.Uint16(b[high:])) << 16
		}
		return n
	}
	table := uint64(le.Uint32(b[0x8:]))
	if len(b) >= wide {
		table |= uint64(le.Uint32(b[0x28:])) << 32
	}
	g := group{used: fs.inodesPerGroup, directories: u16(0x10, 0x30)}
	// Without checksums the kernel ignores these two.
	if fs.roCompat&(roGroupChecksum|roMetadataChecksum) != 0 {
		const uninitialized = 0x1 // EXT4_BG_INODE_UNINIT
		unused := u16(0x1c, 0x32)
		if le.Uint16(b[0x12:])&uninitialized != 0 {
			unused = fs.inodesPerGroup
		}
		if unused > g.used {
			return g, fs.unsupported("group %d has %d inodes, and %d unused ones", number, g.used, unused)
		}
		g.used -= unused
	}
	size := (fs.inodesPerGroup*fs.inodeSize + fs.blockSize - 1) / fs.blockSize
	if table <= fs.firstBlock || table > fs.blocks || size > fs.blocks-table {
		return g, fs.unsupported("the inode table of group %d is at block %d of %d", number, table, fs.blocks)
	}
	g.table = table * fs.blockSize
	return g, nil
}

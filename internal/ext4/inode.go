package ext4

import "bytes"

const rootInode = 2

// inode is an inode with its record (struct ext4_inode, with the attributes behind it).
type inode struct {
	number uint32
	record []byte
}

const (
	typeMask      = 0xf000
	typeDirectory = 0x4000

	flagExtents = 0x80000
	flagInline  = 0x10000000

	blocksAt, blocksSize = 0x28, 60 // i_block
)

func (i inode) links() int        { return int(le.Uint16(i.record[0x1a:])) }
func (i inode) flags() uint32     { return le.Uint32(i.record[0x20:]) }
func (i inode) blocks() []byte    { return i.record[blocksAt:][:blocksSize] }
func (i inode) isDirectory() bool { return le.Uint16(i.record)&typeMask == typeDirectory }

// isUsed reports whether the inode has a name. The kernel and e2fsck remove the links of
// a deleted inode; an inode without links may still be open.
func (i inode) isUsed() bool { return i.record != nil && le.Uint16(i.record) != 0 && i.links() > 0 }

// size returns the size like ext4_isize, for directories.
func (fs *fileSystem) size(i inode) uint64 {
	size := uint64(le.Uint32(i.record[0x4:]))
	if fs.incompat&incompatLargeDir != 0 {
		size |= uint64(le.Uint32(i.record[0x6c:])) << 32
	}
	return size
}

// attributesAt returns the offset of the attributes in a record of more than 128 bytes.
func (i inode) attributesAt() int {
	const extraAt = 0x80 // i_extra_isize
	return extraAt + int(le.Uint16(i.record[extraAt:]))
}

// sameRecord reports whether two records are equal, apart from the access time and the
// checksum.
func sameRecord(a, b inode) bool {
	if bytes.Equal(a.record, b.record) {
		return true
	}
	type part struct{ begin, end int }
	parts := []part{{0, 0x8}, {0xc, 0x7c}, {0x7e, leastInode}}
	if size := len(a.record); size > leastInode {
		const accessEnd = 0x90 // of i_atime_extra
		if min(a.attributesAt(), b.attributesAt()) >= accessEnd {
			parts = append(parts, part{leastInode, 0x82}, part{0x84, 0x8c}, part{accessEnd, size})
		} else {
			parts = append(parts, part{leastInode, size})
		}
	}
	for _, p := range parts {
		if !bytes.Equal(a.record[p.begin:p.end], b.record[p.begin:p.end]) {
			return false
		}
	}
	return true
}

// place returns the group and the index in it of an inode.
func (fs *fileSystem) place(number uint32) (group, index uint64) {
	return uint64(number-1) / fs.inodesPerGroup, uint64(number-1) % fs.inodesPerGroup
}

// directory reads the inode of a directory.
func (fs *fileSystem) directory(number uint32) (inode, error) {
	i := inode{number: number}
	if number == 0 || uint64(number) > fs.inodes {
		return i, fs.unsupported("inode %d is not one of its %d inodes", number, fs.inodes)
	}
	g, index := fs.place(number)
	if index < fs.groups[g].used {
		i.record = make([]byte, fs.inodeSize)
		if err := fs.read(i.record, fs.groups[g].table+index*fs.inodeSize); err != nil {
			return i, err
		}
	}
	if !i.isUsed() || !i.isDirectory() {
		return i, fs.unsupported("inode %d is not a directory", number)
	}
	return i, nil
}

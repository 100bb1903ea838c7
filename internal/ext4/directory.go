package ext4

import (
	"bytes"
	"fmt"
	"iter"
)

// entry is a name in a directory. The name is valid until the next entry.
type entry struct {
	inode uint32
	name  []byte
}

// entries yields the entries of a directory in some of its blocks, apart from "." and
// "..". An inline directory has no blocks; all of its entries are in the inode. Only one
// directory of a file system can be read at a time.
func (fs *fileSystem) entries(i inode, runs []run) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		if i.flags()&flagInline != 0 {
			parts, err := fs.inline(i)
			if err != nil {
				yield(entry{}, err)
				return
			}
			for _, part := range parts {
				if !fs.parse(i, part, yield) {
					return
				}
			}
			return
		}
		perRead := max(1, (64<<10)/fs.blockSize)
		for _, r := range runs {
			for r.count > 0 {
				n := min(r.count, perRead)
				if !fs.parseBlocks(i, r.first, n, yield) {
					return
				}
				r.first, r.count = r.first+n, r.count-n
			}
		}
	}
}

// list yields all entries of a directory, like entries.
func (fs *fileSystem) list(i inode) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		runs, err := fs.runs(i)
		if err != nil {
			yield(entry{}, err)
			return
		}
		fs.entries(i, runs)(yield)
	}
}

func (fs *fileSystem) parseBlocks(i inode, first, count uint64, yield func(entry, error) bool) bool {
	size := int(count * fs.blockSize)
	if cap(fs.buffer) < size {
		fs.buffer = make([]byte, size)
	}
	b := fs.buffer[:size]
	if err := fs.read(b, first*fs.blockSize); err != nil {
		yield(entry{}, err)
		return false
	}
	for ; len(b) > 0; b = b[fs.blockSize:] {
		if !fs.parse(i, b[:fs.blockSize], yield) {
			return false
		}
	}
	return true
}

const (
	entryHeader = 8  // bytes before a name
	least       = 12 // bytes of an entry
)

// parse yields the entries in b (struct ext4_dir_entry_2). The inner nodes and the root
// of an indexed directory, and the checksum at the end of a block, look like entries that
// are not in use.
func (fs *fileSystem) parse(i inode, b []byte, yield func(entry, error) bool) bool {
	for len(b) > 0 {
		if len(b) < least {
			yield(entry{}, fs.broken(i, "%d bytes are left in a block", len(b)))
			return false
		}
		e, length, nameLength := entry{inode: le.Uint32(b)}, fs.entryLength(b), int(b[6])
		if length < least || length%4 != 0 || length > len(b) || entryHeader+nameLength > length {
			yield(entry{}, fs.broken(i, "an entry has %d bytes, and a name of %d", length, nameLength))
			return false
		}
		e.name = b[entryHeader:][:nameLength]
		b = b[length:]
		if e.inode == 0 || string(e.name) == "." || string(e.name) == ".." {
			continue
		}
		if nameLength == 0 || bytes.ContainsAny(e.name, "/\x00") || uint64(e.inode) > fs.inodes {
			yield(entry{}, fs.broken(i, "it has the name %q of inode %d", e.name, e.inode))
			return false
		}
		if !yield(e, nil) {
			return false
		}
	}
	return true
}

// entryLength returns the length of an entry like ext4_rec_len_from_disk.
func (fs *fileSystem) entryLength(b []byte) int {
	const largest = 64 << 10 // bytes of a block; the length of such an entry does not fit in 16 bits
	n := int(le.Uint16(b[4:]))
	if fs.blockSize < largest {
		return n
	}
	if n == 0 || n == 0xffff {
		return largest
	}
	return n&^3 | n&3<<16
}

func (fs *fileSystem) broken(i inode, format string, args ...any) error {
	return fs.unsupported("directory %d: %s", i.number, fmt.Sprintf(format, args...))
}

// parent returns the inode number of the directory above.
func (fs *fileSystem) parent(i inode) (uint32, error) {
	if i.flags()&flagInline != 0 {
		return le.Uint32(i.blocks()), nil
	}
	runs, err := fs.runs(i)
	if err != nil {
		return 0, err
	}
	const up = 12               // the offset of ".."
	b := make([]byte, up+least) // both entries, the second without its padding
	if err := fs.readBlock(b, runs[0].first); err != nil {
		return 0, err
	}
	if le.Uint32(b) != i.number || fs.entryLength(b) != up || b[up+6] != 2 || string(b[up+entryHeader:][:2]) != ".." {
		return 0, fs.broken(i, "it does not begin with . and ..")
	}
	return le.Uint32(b[up:]), nil
}

// inline returns the two parts of a directory in an inode: in the place of the block
// numbers, after the number of the directory above, and in the attribute system.data
// (fs/ext4/inline.c).
func (fs *fileSystem) inline(i inode) ([][]byte, error) {
	const (
		magic      = 0xea020000
		header     = 4  // struct ext4_xattr_ibody_header
		entrySize  = 16 // struct ext4_xattr_entry, without the name
		systemData = 7  // EXT4_XATTR_INDEX_SYSTEM
		up         = 4
	)
	parts := [][]byte{i.blocks()[up:]}
	if len(i.record) <= leastInode || i.attributesAt()+header > len(i.record) {
		return nil, fs.broken(i, "it is inline, and its inode has no attributes")
	}
	b := i.record[i.attributesAt():]
	if le.Uint32(b) != magic {
		return nil, fs.broken(i, "it is inline, and its inode has no attributes")
	}
	values := b[header:]
	for at := values; len(at) >= entrySize && le.Uint32(at) != 0; {
		length := int(at[0])
		if entrySize+length > len(at) {
			break
		}
		name, index := string(at[entrySize:][:length]), at[1]
		offset, size := uint64(le.Uint16(at[2:])), uint64(le.Uint32(at[8:]))
		if index == systemData && name == "data" {
			if le.Uint32(at[4:]) != 0 || offset+size > uint64(len(values)) {
				break
			}
			return append(parts, values[offset:][:size]), nil
		}
		at = at[min(len(at), entrySize+(length+3)&^3):]
	}
	return nil, fs.broken(i, "it is inline, and its inode has no attribute system.data")
}

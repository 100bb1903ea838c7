package ext4

// run is a range of blocks.
type run struct{ first, count uint64 }

// mapping collects the blocks of a directory, in the order of the directory.
type mapping struct {
	fs   *fileSystem
	of   inode
	want uint64 // blocks
	have uint64
	runs []run
}

// runs returns the blocks of a directory, or nothing if it is inline. A directory has no
// holes.
func (fs *fileSystem) runs(i inode) ([]run, error) {
	if i.flags()&flagInline != 0 {
		return nil, nil
	}
	size := fs.size(i)
	m := &mapping{fs: fs, of: i, want: size / fs.blockSize}
	if size%fs.blockSize != 0 || m.want == 0 || m.want > fs.blocks {
		return nil, fs.broken(i, "it has %d bytes", size)
	}
	var err error
	if i.flags()&flagExtents != 0 {
		err = m.extents(i.blocks(), -1)
	} else {
		err = m.pointers(i.blocks())
	}
	if err == nil && m.have != m.want {
		err = m.fs.broken(m.of, "%d of its %d blocks are mapped", m.have, m.want)
	}
	return m.runs, err
}

// add appends blocks that follow the ones before.
func (m *mapping) add(first, count uint64) error {
	if count == 0 || count > m.want-m.have || first == 0 || first >= m.fs.blocks || count > m.fs.blocks-first {
		return m.fs.broken(m.of, "%d blocks at block %d", count, first)
	}
	m.have += count
	if last := len(m.runs) - 1; last >= 0 && m.runs[last].first+m.runs[last].count == first {
		m.runs[last].count += count
	} else {
		m.runs = append(m.runs, run{first, count})
	}
	return nil
}

// extents reads a node of the extent tree (fs/ext4/ext4_extents.h). depth is the depth
// that it must have, -1 for any. Each node below the root adds a block or fails, so the
// size of the directory limits the number of nodes.
func (m *mapping) extents(node []byte, depth int) error {
	const (
		magic    = 0xf30a
		header   = 12
		size     = 12 // of an entry
		deepest  = 5  // EXT4_MAX_EXTENT_DEPTH
		mostData = 1 << 15
	)
	entries, found := int(le.Uint16(node[2:])), int(le.Uint16(node[6:]))
	root := depth < 0
	if root {
		depth = found
	}
	if le.Uint16(node) != magic || found != depth || depth > deepest || entries > (len(node)-header)/size {
		return m.fs.broken(m.of, "a node of the extent tree has %d entries, and the depth %d", entries, found)
	}
	if entries == 0 && !root {
		return m.fs.broken(m.of, "a node of the extent tree is empty")
	}
	for i := range entries {
		e := node[header+i*size:][:size]
		if logical := uint64(le.Uint32(e)); logical != m.have {
			return m.fs.broken(m.of, "the blocks from %d to %d are not mapped", m.have, logical)
		}
		if depth == 0 {
			count := uint64(le.Uint16(e[4:]))
			if count > mostData { // data that were not written
				return m.fs.broken(m.of, "%d blocks were not written", count-mostData)
			}
			if err := m.add(uint64(le.Uint16(e[6:]))<<32|uint64(le.Uint32(e[8:])), count); err != nil {
				return err
			}
			continue
		}
		below := make([]byte, m.fs.blockSize)
		if err := m.fs.readBlock(below, uint64(le.Uint16(e[8:]))<<32|uint64(le.Uint32(e[4:]))); err != nil {
			return err
		}
		if err := m.extents(below, depth-1); err != nil {
			return err
		}
	}
	return nil
}

// pointers reads the block numbers in an inode without extents: twelve blocks of data,
// and three of pointers, of which the last two have one and two more levels below.
func (m *mapping) pointers(b []byte) error {
	const direct, all = 12, 15
	for i := 0; i < all && m.have < m.want; i++ {
		if err := m.pointer(le.Uint32(b[4*i:]), max(0, i-direct+1)); err != nil {
			return err
		}
	}
	return nil
}

// pointer adds the blocks of a pointer with some levels of pointers below it.
func (m *mapping) pointer(number uint32, levels int) error {
	if levels == 0 {
		return m.add(uint64(number), 1)
	}
	b := make([]byte, m.fs.blockSize)
	if err := m.fs.readBlock(b, uint64(number)); err != nil {
		return err
	}
	for ; len(b) > 0 && m.have < m.want; b = b[4:] {
		if err := m.pointer(le.Uint32(b), levels-1); err != nil {
			return err
		}
	}
	return nil
}

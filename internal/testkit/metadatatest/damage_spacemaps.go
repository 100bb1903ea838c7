package metadatatest

import "encoding/binary"

// spaceMap is one of the two space maps.
type spaceMap struct {
	*blockMap
	name            string
	root            int // offset in the superblock
	bitmaps, counts string
}

func (m spaceMap) blocks() uint64 { return m.super.u64(m.root) }

// raw returns the two bits of a block as a count from 0 to 3.
func (m spaceMap) raw(block uint64) int {
	return rawAt(m.read(m.bitmapOf(block)), block)
}

func rawAt(bitmap view, block uint64) int {
	bits := bitmap.b[16+block%16320/4] >> (block % 4 * 2)
	return int(bits&1<<1 | bits>>1&1)
}

func (m spaceMap) bitmapOf(block uint64) uint64 { return m.parts[m.bitmaps][block/16320].block }

// setCount changes the two bits of a block and updates nr_free, none_free_before and
// nr_allocated.
func (m spaceMap) setCount(block uint64, raw int) {
	was := m.raw(block)
	bitmap := m.bitmapOf(block)
	m.edit(bitmap, func(v view) {
		at, shift := 16+block%16320/4, block%4*2
		bits := byte(raw>>1 | raw&1<<1)
		v.b[at] = v.b[at]&^(3<<shift) | bits<<shift
	})
	taken := 0
	if raw > 0 {
		taken++
	}
	if was > 0 {
		taken--
	}
	if taken == 0 {
		return
	}
	free, v := uint64(0), m.read(bitmap)
	for free < 16320 && rawAt(v, free) != 0 {
		free++
	}
	m.entry(block/16320, func(entry []byte) {
		le := binary.LittleEndian
		le.PutUint32(entry[8:], le.Uint32(entry[8:])-uint32(taken))
		le.PutUint32(entry[12:], uint32(free))
	})
	m.edit(0, func(v view) { v.setU64(m.root+8, v.u64(m.root+8)+uint64(taken)) })
}

// entry changes the index entry of bitmap n and returns the block that contains it.
func (m spaceMap) entry(n uint64, change func([]byte)) uint64 {
	if m.root == offMetadataSpaceMap {
		at := m.parts[partMetaIndex][0].block
		m.edit(at, func(v view) { change(v.b[16+16*n:][:16]) })
		return at
	}
	for _, at := range m.parts[partIndex] {
		for i, v := 0, m.read(at.block); at.leaf && i < v.entries(); i++ {
			if v.key(i) == n {
				m.edit(at.block, func(v view) { change(v.value(i)) })
				return at.block
			}
		}
	}
	panic("no index entry")
}

// find returns a block with a count; 3 stands for all counts over 2.
func (m spaceMap) find(raw int) (uint64, bool) {
	start, at, v := m.rng.Uint64N(m.blocks()), uint64(0), view{}
	for i := range m.blocks() {
		block := (start + i) % m.blocks()
		if bitmap := m.bitmapOf(block); v.b == nil || bitmap != at {
			at, v = bitmap, m.read(bitmap)
		}
		if block != 0 && rawAt(v, block) == raw {
			return block, true
		}
	}
	return 0, false
}

func spaceMapDamages() []Damage {
	var all []Damage
	for _, of := range []spaceMap{
		{name: "data", root: offDataSpaceMap, bitmaps: partDataBitmap, counts: partDataCounts},
		{name: "metadata", root: offMetadataSpaceMap, bitmaps: partMetaBitmap, counts: partMetaCounts},
	} {
		add := func(name string, leak bool, apply func(m spaceMap) (uint64, bool)) {
			all = append(all, Damage{Name: name + "/" + of.name, Leak: leak, apply: func(s *blockMap) (uint64, bool) {
				m := of
				m.blockMap = s
				return apply(m)
			}})
		}
		recount := func(name string, leak bool, from, to int) {
			add(name, leak, func(m spaceMap) (uint64, bool) {
				block, ok := m.find(from)
				if ok {
					m.setCount(block, to)
				}
				return m.bitmapOf(block), ok
			})
		}
		recount("leak", true, 0, 1)
		recount("leak of two", true, 0, 2)
		recount("lost reference", false, 1, 0)
		recount("lost references", false, 2, 0)
		recount("all references lost", false, 3, 0)
		recount("count 2 for 1", true, 1, 2)
		recount("count 1 for 2", false, 2, 1)
		recount("count 2 for more", false, 3, 2)
		recount("overflow entry missing for 1", false, 1, 3)
		recount("overflow entry missing for 2", false, 2, 3)
		overflow := func(name string, leak bool, change func(v view, i int)) {
			add(name, leak, func(m spaceMap) (uint64, bool) {
				at, ok := m.pick(m.counts, func(at treeBlock, v view) bool {
					return at.leaf && v.entries() > 0 && (at.parent == 0 || v.entries() > v.max()/3)
				})
				if ok {
					m.edit(at.block, func(v view) { change(v, m.rng.IntN(v.entries())) })
				}
				return at.block, ok
			})
		}
		count := func(n func(uint32) uint32) func(v view, i int) {
			return func(v view, i int) { v.setU32(v.valueAt(i), n(v.u32(v.valueAt(i)))) }
		}
		overflow("overflow entry missing", false, func(v view, i int) { v.remove(i) })
		overflow("overflow count too high", true, count(func(n uint32) uint32 { return n + 1 }))
		overflow("overflow count highest", true, count(func(uint32) uint32 { return 1<<32 - 1 }))
		overflow("overflow count too low", false, count(func(n uint32) uint32 { return n - 1 }))
		overflow("overflow count 0", false, count(func(uint32) uint32 { return 0 }))
		overflow("overflow entry beyond the device", false, func(v view, i int) { v.setKey(v.entries()-1, 1<<40) })
		root := func(name string, at int, n func(uint64) uint64) {
			add(name, false, func(m spaceMap) (uint64, bool) {
				m.edit(0, func(v view) { v.setU64(m.root+at, n(v.u64(m.root+at))) })
				return 0, true
			})
		}
		root("nr_allocated", 8, func(n uint64) uint64 { return n + 1 })
		root("nr_blocks too few", 0, func(uint64) uint64 { return 3 })
		root("no nr_blocks", 0, func(uint64) uint64 { return 0 })
		root("nr_blocks too many", 0, func(n uint64) uint64 { return n + 5*16320 })
		root("nr_blocks far too many", 0, func(n uint64) uint64 { return 1 << 62 })
		index := func(name string, leak bool, change func(entry []byte, blocks uint64)) {
			add(name, leak, func(m spaceMap) (uint64, bool) {
				n := m.rng.IntN(len(m.parts[m.bitmaps]))
				return m.entry(uint64(n), func(entry []byte) { change(entry, m.super.u64(offMetadataSpaceMap)) }), true
			})
		}
		le := binary.LittleEndian
		index("nr_free", false, func(entry []byte, _ uint64) { le.PutUint32(entry[8:], le.Uint32(entry[8:])-1) })
		index("nr_free over a bitmap's", false, func(entry []byte, _ uint64) { le.PutUint32(entry[8:], 16321) })
		// The kernel skips the blocks before it (sm_ll_find_free_block).
		index("none_free_before", true, func(entry []byte, _ uint64) { le.PutUint32(entry[12:], 16320) })
		index("bitmap at the end", false, func(entry []byte, blocks uint64) { le.PutUint64(entry, blocks) })
		index("bitmap is the superblock", false, func(entry []byte, _ uint64) { le.PutUint64(entry, 0) })
		index("bitmap far beyond", false, func(entry []byte, _ uint64) { le.PutUint64(entry, 1<<52+1) })
	}
	return all
}

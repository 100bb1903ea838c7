package metadatatest

import "encoding/binary"

// deviceDamages returns damages of details and mappings that do not affect the btrees.
func deviceDamages() []Damage {
	leafOf := func(part, name string, least int, change func(s *blockMap, at treeBlock, v view, i int) bool) Damage {
		return Damage{Name: name, apply: func(s *blockMap) (uint64, bool) {
			var changed view
			at, ok := s.pick(part, func(at treeBlock, v view) bool {
				changed = v
				return at.leaf && v.entries() >= least && (at.parent == 0 || v.entries() > v.max()/3) &&
					change(s, at, v, s.rng.IntN(v.entries()))
			})
			if ok {
				s.edit(at.block, func(v view) { copy(v.b, changed.b) })
			}
			return at.block, ok
		}}
	}
	remap := func(name string, to func(s *blockMap, v view, i int) uint64) Damage {
		return leafOf(partMapping, "mapping/"+name, 2, func(s *blockMap, _ treeBlock, v view, i int) bool {
			copy(v.value(i), le64(to(s, v, i)))
			return true
		})
	}
	dataBlocks := func(s *blockMap) uint64 { return s.super.u64(offDataSpaceMap) }
	return []Damage{
		leafOf(partDetails, "details/mapped_blocks", 1, func(s *blockMap, _ treeBlock, v view, i int) bool {
			at := v.valueAt(i)
			v.setU64(at, v.u64(at)+1+s.rng.Uint64N(1000))
			return true
		}),
		leafOf(partDetails, "details/device missing", 1,
			func(_ *blockMap, _ treeBlock, v view, i int) bool { v.remove(i); return true }),
		{Name: "details/device too many", apply: func(s *blockMap) (uint64, bool) {
			at, ok := s.pick(partDetails,
				func(at treeBlock, v view) bool { return at.leaf && v.entries() < v.max() && gap(v) > 0 })
			if ok {
				s.edit(at.block, func(v view) { v.insert(gap(v), v.key(gap(v))-1, make([]byte, v.size())) })
			}
			return at.block, ok
		}},
		leafOf(partDetails, "details/id of 25 bits", 1, func(_ *blockMap, _ treeBlock, v view, _ int) bool {
			v.setKey(v.entries()-1, 1<<24)
			return true
		}),
		leafOf(partDetails, "details/created after the pool's time", 1, func(s *blockMap, _ treeBlock, v view, i int) bool {
			v.setU32(v.valueAt(i)+16, s.super.u32(offTime)+1+s.rng.Uint32N(100))
			return true
		}),
		leafOf(partTop, "mapping/device missing", 1,
			func(_ *blockMap, _ treeBlock, v view, i int) bool { v.remove(i); return true }),
		leafOf(partTop, "mapping/root at the end", 1, func(s *blockMap, _ treeBlock, v view, i int) bool {
			v.setChild(i, s.super.u64(offMetadataSpaceMap))
			return true
		}),
		leafOf(partTop, "mapping/root is the superblock", 1, func(_ *blockMap, _ treeBlock, v view, i int) bool {
			v.setChild(i, 0)
			return true
		}),
		leafOf(partTop, "mapping/root is the top level's", 1, func(s *blockMap, _ treeBlock, v view, i int) bool {
			v.setChild(i, s.super.u64(offMappingRoot))
			return true
		}),
		leafOf(partTop, "mapping/another device's root", 2, func(_ *blockMap, _ treeBlock, v view, i int) bool {
			j := 0
			for j < v.entries() && v.child(j) == v.child(i) {
				j++
			}
			if j == v.entries() {
				return false
			}
			v.setChild(i, v.child(j))
			return true
		}),
		remap("at the end of the data", func(s *blockMap, _ view, _ int) uint64 { return dataBlocks(s) << 24 }),
		remap("far beyond the data", func(*blockMap, view, int) uint64 { return 1<<64 - 1<<24 }),
		remap("another's block", func(_ *blockMap, v view, i int) uint64 {
			j := (i + 1) % v.entries()
			return binary.LittleEndian.Uint64(v.value(j))
		}),
		remap("a free block", func(s *blockMap, v view, i int) uint64 { return (dataBlocks(s) - 1) << 24 }),
		remap("later than the pool's time", func(s *blockMap, v view, i int) uint64 {
			return v.u64(v.valueAt(i))&^(1<<24-1) | uint64(s.super.u32(offTime)+1)
		}),
	}
}

// gap returns the first entry whose key is not the previous key plus 1, or 0 if there is none.
func gap(v view) int {
	for i := 1; i < v.entries(); i++ {
		if v.key(i) > v.key(i-1)+1 {
			return i
		}
	}
	return 0
}

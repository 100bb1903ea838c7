package metadatatest

import (
	"encoding/binary"
	"math"
)

var treeParts = []string{
	partTop, partMapping, partDetails, partIndex, partDataCounts, partMetaCounts,
	partHeldTop, partHeldMappings, partHeldDetails,
}

func anyOf(least int) func(treeBlock, view) bool {
	return func(_ treeBlock, v view) bool { return v.entries() >= least }
}

func internal(at treeBlock, v view) bool { return !at.leaf && v.entries() > 1 }

// treeDamages returns damages of btree nodes with correct checksums.
func treeDamages() []Damage {
	var all []Damage
	for _, part := range treeParts {
		add := func(name string, suits func(treeBlock, view) bool, change func(s *blockMap, at treeBlock, v view)) {
			all = append(all, Damage{Name: name + "/" + part, apply: func(s *blockMap) (uint64, bool) {
				at, ok := s.pick(part, suits)
				if ok {
					s.edit(at.block, func(v view) { change(s, at, v) })
				}
				return at.block, ok
			}})
		}
		add("keys out of order", anyOf(2), func(s *blockMap, _ treeBlock, v view) {
			i := 1 + s.rng.IntN(v.entries()-1)
			k := v.key(i)
			v.setKey(i, v.key(i-1))
			v.setKey(i-1, k)
		})
		add("equal keys", anyOf(2), func(s *blockMap, _ treeBlock, v view) {
			i := 1 + s.rng.IntN(v.entries()-1)
			v.setKey(i, v.key(i-1))
		})
		add("key below the parent's",
			func(at treeBlock, v view) bool { return at.parent != 0 && at.index > 0 && v.entries() > 0 },
			func(s *blockMap, at treeBlock, v view) { v.setKey(0, s.read(at.parent).key(at.index)-1) })
		add("key at the parent's next",
			func(at treeBlock, v view) bool { return at.parent != 0 && at.index == 0 && v.entries() > 0 },
			func(s *blockMap, at treeBlock, v view) { v.setKey(v.entries()-1, s.read(at.parent).key(at.index+1)) })
		add("more entries than fit", nil, func(_ *blockMap, _ treeBlock, v view) { v.setEntries(v.max() + 1) })
		add("most entries", nil, func(_ *blockMap, _ treeBlock, v view) { v.setU32(16, math.MaxUint32) })
		add("max that does not fit", nil, func(_ *blockMap, _ treeBlock, v view) { v.setU32(20, uint32(v.max())+3) })
		add("max that overflows", nil,
			func(_ *blockMap, _ treeBlock, v view) { v.setU32(20, math.MaxUint32/uint32(8+v.size())+1) })
		add("value size", nil, func(_ *blockMap, _ treeBlock, v view) { v.setU32(24, 12) })
		add("value size of 4 GiB", nil, func(_ *blockMap, _ treeBlock, v view) { v.setU32(24, math.MaxUint32-7) })
		add("no flags", nil, func(_ *blockMap, _ treeBlock, v view) { v.setU32(4, 0) })
		add("both flags", nil, func(_ *blockMap, _ treeBlock, v view) { v.setU32(4, 3) })
		add("emptied", func(at treeBlock, v view) bool { return at.parent != 0 },
			func(_ *blockMap, _ treeBlock, v view) { v.setEntries(0) })

		child := func(name string, to func(s *blockMap, at treeBlock, v view, i int) uint64) {
			add("child "+name, internal, func(s *blockMap, at treeBlock, v view) {
				i := s.rng.IntN(v.entries())
				v.setChild(i, to(s, at, v, i))
			})
		}
		child("at the end", func(s *blockMap, _ treeBlock, _ view, _ int) uint64 { return s.super.u64(offMetadataSpaceMap) })
		child("far beyond", func(*blockMap, treeBlock, view, int) uint64 { return math.MaxUint64 })
		child("whose offset overflows", func(*blockMap, treeBlock, view, int) uint64 { return 1<<52 + 1 })
		child("is the superblock", func(*blockMap, treeBlock, view, int) uint64 { return 0 })
		child("is itself", func(_ *blockMap, at treeBlock, _ view, _ int) uint64 { return at.block })
		child("twice", func(_ *blockMap, _ treeBlock, v view, i int) uint64 { return v.child((i + 1) % v.entries()) })
		child("is a bitmap", func(s *blockMap, _ treeBlock, _ view, _ int) uint64 { return s.parts[partMetaBitmap][0].block })
		child("is another tree's", func(s *blockMap, _ treeBlock, _ view, _ int) uint64 {
			if part == partDetails {
				return s.parts[partTop][0].block
			}
			return s.parts[partDetails][0].block
		})
		all = append(all, underfull(part, true))
		if part != partMapping && part != partHeldMappings { // the other trees do not have three levels
			continue
		}
		all = append(all,
			childOfRoot("child is its root/"+part, part, func(s *blockMap, root treeBlock, v view, i int) (uint64, bool) {
				kid := v.child(i)
				kv := s.read(kid)
				if kv.leaf() {
					return 0, false
				}
				s.edit(kid, func(v view) { v.setChild(s.rng.IntN(v.entries()), root.block) })
				return kid, true
			}), childOfRoot("uneven height/"+part, part, func(s *blockMap, root treeBlock, v view, i int) (uint64, bool) {
				kv := s.read(v.child(i))
				if kv.leaf() {
					return 0, false
				}
				s.edit(root.block, func(v view) { v.setChild(i, kv.child(0)) })
				return root.block, true
			}), underfull(part, false))
	}
	return all
}

// childOfRoot returns a damage that applies change to a child of a tree's root.
func childOfRoot(name, part string, change func(s *blockMap, root treeBlock, v view, i int) (uint64, bool)) Damage {
	return Damage{Name: name, apply: func(s *blockMap) (uint64, bool) {
		root, ok := s.pick(part, func(at treeBlock, v view) bool {
			return at.parent == 0 && !at.leaf && !s.read(v.child(0)).leaf()
		})
		if !ok {
			return 0, false
		}
		v := s.read(root.block)
		return change(s, root, v, s.rng.IntN(v.entries()))
	}}
}

// underfull returns a damage that moves entries from a node to the next one until the node has
// one entry less than a third of its capacity. There is no other defect.
func underfull(part string, leaf bool) Damage {
	kind := map[bool]string{true: "leaf", false: "internal node"}[leaf]
	return Damage{Name: "under-full " + kind + "/" + part, apply: func(s *blockMap) (uint64, bool) {
		refs := make(map[uint64]int)
		for _, at := range s.parts[part] {
			refs[at.block] = at.refs
		}
		var next uint64
		at, ok := s.pick(part, func(at treeBlock, v view) bool {
			if at.parent == 0 || at.leaf != leaf || at.refs != 1 {
				return false
			}
			p := s.read(at.parent)
			if at.index+1 >= p.entries() {
				return false
			}
			next = p.child(at.index + 1)
			n := s.read(next)
			return refs[next] == 1 && v.entries()+n.entries() <= n.max()+n.max()/3-1
		})
		if !ok {
			return 0, false
		}
		from, to := s.read(at.block), s.read(next)
		for from.entries() >= from.max()/3 {
			last := from.entries() - 1
			to.insert(0, from.key(last), from.value(last))
			from.remove(last)
		}
		s.edit(at.block, func(v view) { copy(v.b, from.b) })
		s.edit(next, func(v view) { copy(v.b, to.b) })
		s.edit(at.parent, func(v view) { v.setKey(at.index+1, to.key(0)) })
		return at.block, true
	}}
}

func le64(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

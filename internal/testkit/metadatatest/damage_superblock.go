package metadatatest

// superblockDamages returns damages of a superblock with a correct checksum.
func superblockDamages() []Damage {
	edit := func(name string, change func(s *blockMap, v view)) Damage {
		return Damage{Name: "superblock/" + name, apply: func(s *blockMap) (uint64, bool) {
			s.edit(0, func(v view) { change(s, v) })
			return 0, true
		}}
	}
	put32 := func(name string, at int, n uint32) Damage {
		return edit(name, func(_ *blockMap, v view) { v.setU32(at, n) })
	}
	put64 := func(name string, at int, n uint64) Damage {
		return edit(name, func(_ *blockMap, v view) { v.setU64(at, n) })
	}
	needsCheck, readOnly := put32("needs_check", offFlags, 1), put32("features to only read", offCompatRO, 1)
	needsCheck.Flag, readOnly.Flag = true, true
	all := []Damage{
		put64("magic", offMagic, 27022011),
		put32("version 0", offVersion, 0),
		put32("version 3", offVersion, 3),
		put32("features not known", offIncompat, 1),
		put64("blocknr of another", offBlock, 1),
		put32("no data block size", offDataBlockSize, 0),
		put32("odd data block size", offDataBlockSize, 130),
		put32("huge data block size", offDataBlockSize, 2097152+128),
		put32("metadata block size", offMetadataBlockSize, 16),
		put32("unknown flags", offFlags, 1<<7),
		edit("time before the mappings'", func(_ *blockMap, v view) { v.setU32(offTime, 0) }),
		edit("mapping and details swapped", func(_ *blockMap, v view) {
			m, d := v.u64(offMappingRoot), v.u64(offDetailsRoot)
			v.setU64(offMappingRoot, d)
			v.setU64(offDetailsRoot, m)
		}),
		needsCheck, readOnly,
		put64("held root far beyond", offHeldRoot, 1<<52+1),
		edit("held root at the end", func(s *blockMap, v view) { v.setU64(offHeldRoot, v.u64(offMetadataSpaceMap)) }),
		edit("held root is a node", func(_ *blockMap, v view) { v.setU64(offHeldRoot, v.u64(offMappingRoot)) }),
		edit("no held root any more", func(_ *blockMap, v view) { v.setU64(offHeldRoot, 0) }),
		heldEdit("holds another", func(v view) { v.setU64(offHeldRoot, 3) }),
		heldEdit("has space maps", func(v view) { v.setU64(offDataSpaceMap, 100) }),
	}
	all[len(all)-3].Leak = true // the blocks of the held root
	for _, root := range []struct {
		name string
		at   int
	}{
		{"mapping root", offMappingRoot}, {"details root", offDetailsRoot},
		{"data index root", offDataSpaceMap + 16}, {"data counts root", offDataSpaceMap + 24},
		{"metadata index root", offMetadataSpaceMap + 16}, {"metadata counts root", offMetadataSpaceMap + 24},
	} {
		name, at := root.name, root.at
		all = append(all,
			put64(name+" is the superblock", at, 0),
			put64(name+" far beyond", at, 1<<63),
			edit(name+" at the end", func(_ *blockMap, v view) { v.setU64(at, v.u64(offMetadataSpaceMap)) }))
	}
	return all
}

func heldEdit(name string, change func(view)) Damage {
	return Damage{Name: "held root/" + name, apply: func(s *blockMap) (uint64, bool) {
		at, ok := s.pick(partHeld, nil)
		if ok {
			s.edit(at.block, change)
		}
		return at.block, ok
	}}
}

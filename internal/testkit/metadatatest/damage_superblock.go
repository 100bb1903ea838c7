package metadatatest

// superblockDamages are of a superblock with a right checksum.
func superblockDamages() []Damage {
	edit := func(name string, change func(s *survey, v view)) Damage {
		return Damage{Name: "superblock/" + name, apply: func(s *survey) (uint64, bool) {
			s.edit(0, func(v view) { change(s, v) })
			return 0, true
		}}
	}
	put32 := func(name string, at int, n uint32) Damage {
		return edit(name, func(_ *survey, v view) { v.put32(at, n) })
	}
	put64 := func(name string, at int, n uint64) Damage {
		return edit(name, func(_ *survey, v view) { v.put64(at, n) })
	}
	needsCheck, readOnly := put32("needs_check", atFlags, 1), put32("features to only read", atCompatRO, 1)
	needsCheck.Flag, readOnly.Flag = true, true
	all := []Damage{
		put64("magic", atMagic, 27022011),
		put32("version 0", atVersion, 0),
		put32("version 3", atVersion, 3),
		put32("features not known", atIncompat, 1),
		put64("blocknr of another", atBlock, 1),
		put32("no data block size", atDataBlockSize, 0),
		put32("odd data block size", atDataBlockSize, 130),
		put32("huge data block size", atDataBlockSize, 2097152+128),
		put32("metadata block size", atBlockSize, 16),
		put32("unknown flags", atFlags, 1<<7),
		edit("time before the mappings'", func(_ *survey, v view) { v.put32(atTime, 0) }),
		edit("mapping and details swapped", func(_ *survey, v view) {
			m, d := v.u64(atMappingRoot), v.u64(atDetailsRoot)
			v.put64(atMappingRoot, d)
			v.put64(atDetailsRoot, m)
		}),
		needsCheck, readOnly,
		put64("held root far beyond", atHeld, 1<<52+1),
		edit("held root at the end", func(s *survey, v view) { v.put64(atHeld, v.u64(atMetadataMap)) }),
		edit("held root is a node", func(_ *survey, v view) { v.put64(atHeld, v.u64(atMappingRoot)) }),
		edit("no held root any more", func(_ *survey, v view) { v.put64(atHeld, 0) }),
		heldEdit("holds another", func(v view) { v.put64(atHeld, 3) }),
		heldEdit("has space maps", func(v view) { v.put64(atDataMap, 100) }),
	}
	all[len(all)-3].Leak = true // of the held root's own blocks
	for _, root := range []struct {
		name string
		at   int
	}{
		{"mapping root", atMappingRoot}, {"details root", atDetailsRoot},
		{"data index root", atDataMap + 16}, {"data counts root", atDataMap + 24},
		{"metadata index root", atMetadataMap + 16}, {"metadata counts root", atMetadataMap + 24},
	} {
		name, at := root.name, root.at
		all = append(all,
			put64(name+" is the superblock", at, 0),
			put64(name+" far beyond", at, 1<<63),
			edit(name+" at the end", func(_ *survey, v view) { v.put64(at, v.u64(atMetadataMap)) }))
	}
	return all
}

func heldEdit(name string, change func(view)) Damage {
	return Damage{Name: "held root/" + name, apply: func(s *survey) (uint64, bool) {
		at, ok := s.pick(partHeld, nil)
		if ok {
			s.edit(at.block, change)
		}
		return at.block, ok
	}}
}

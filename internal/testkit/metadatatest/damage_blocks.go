package metadatatest

import (
	"encoding/binary"

	"thinctl/thinpool/metadata"
)

// blockDamages returns the damages that apply to any block.
func blockDamages() []Damage {
	var all []Damage
	for _, part := range []string{
		partSuperblock, partHeld, partTop, partMapping, partDetails, partIndex, partDataBitmap, partDataCounts,
		partMetaIndex, partMetaBitmap, partMetaCounts, partHeldTop, partHeldMappings, partHeldDetails,
	} {
		raw := func(name string, change func(s *blockMap, v view)) {
			all = append(all, Damage{Name: name + "/" + part, apply: func(s *blockMap) (uint64, bool) {
				at, ok := s.pick(part, nil)
				if ok {
					v := s.read(at.block)
					change(s, v)
					s.write(at.block, v)
				}
				return at.block, ok
			}})
		}
		raw("checksum", func(s *blockMap, v view) { v.b[s.rng.IntN(blockSize)] ^= 1 << s.rng.IntN(8) })
		raw("zeroed", func(_ *blockMap, v view) { clear(v.b) })
		raw("garbage", func(s *blockMap, v view) {
			for i := 0; i < blockSize; i += 8 {
				binary.LittleEndian.PutUint64(v.b[i:], s.rng.Uint64())
			}
		})
		raw("blocknr", func(s *blockMap, v view) {
			kind := metadata.KindOf(v.b)
			v.setU64(offBlock, v.u64(offBlock)^(1+s.rng.Uint64N(100))) // at the same offset in every kind of block
			metadata.SetChecksum(v.b, kind)
		})
		raw("salt", func(_ *blockMap, v view) {
			if metadata.KindOf(v.b) == metadata.BitmapBlock {
				metadata.SetChecksum(v.b, metadata.NodeBlock)
			} else {
				metadata.SetChecksum(v.b, metadata.BitmapBlock)
			}
		})
	}
	return all
}

// sizeDamages returns the damages of the device's size.
func sizeDamages() []Damage {
	cut := func(name string, size func(s *blockMap, last uint64) int64) Damage {
		return Damage{Name: "truncated/" + name, apply: func(s *blockMap) (uint64, bool) {
			var last uint64
			for _, list := range s.parts {
				for _, at := range list {
					last = max(last, at.block)
				}
			}
			n := size(s, last)
			if err := s.disk.Truncate(n); err != nil {
				panic(err)
			}
			return uint64(n) / uint64(blockSize), true
		}}
	}
	return []Damage{
		cut("inside the last used block", func(_ *blockMap, last uint64) int64 { return int64(last)*int64(blockSize) + 100 }),
		cut("before the last used block", func(_ *blockMap, last uint64) int64 { return int64(last) * int64(blockSize) }),
		cut("anywhere", func(s *blockMap, last uint64) int64 { return s.rng.Int64N(int64(last) * int64(blockSize)) }),
		cut("after the superblock", func(*blockMap, uint64) int64 { return int64(blockSize) }),
		cut("inside the superblock", func(s *blockMap, _ uint64) int64 { return 364 }),
		cut("to nothing", func(*blockMap, uint64) int64 { return 0 }),
	}
}

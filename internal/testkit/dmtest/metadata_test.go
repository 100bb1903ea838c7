package dmtest

import (
	"maps"
	"slices"
	"testing"

	"thinctl/blockdev"
	"thinctl/units"

	"pgregory.net/rapid"
)

// The tests in this file compare the trie and the metadata with Go maps.

func TestTrieIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := map[uint64]int{}
		var have trie[int]
		var older []trie[int]
		var olderModels []map[uint64]int
		key := rapid.OneOf(rapid.Uint64Range(0, 40), rapid.Uint64Range(0, 5000), rapid.Uint64())
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			k := key.Draw(t, "key")
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0, 1, 2:
				have = have.del(k)
				delete(model, k)
			case 3:
				older, olderModels = append(older, have), append(olderModels, maps.Clone(model))
			default:
				v := rapid.Int().Draw(t, "value")
				have = have.set(k, v)
				model[k] = v
			}
		}
		for i := range older {
			sameTrie(t, older[i], olderModels[i])
		}
		sameTrie(t, have, model)
		if keys := slices.Sorted(maps.Keys(model)); len(keys) > 0 {
			if got, ok := have.highest(); !ok || got != keys[len(keys)-1] {
				t.Fatalf("highest key: got %d, %v, want %d", got, ok, keys[len(keys)-1])
			}
		} else if got, ok := have.highest(); ok {
			t.Fatalf("highest key of an empty trie: got %d, want none", got)
		}
		from := key.Draw(t, "from")
		want := from
		for _, taken := model[want]; taken && want < from+1000; _, taken = model[want] {
			want++
		}
		if got, ok := have.firstAbsent(from, from+1000); from < from+1000 && (!ok || got != want) {
			t.Fatalf("first absent from %d: got %d, %v, want %d", from, got, ok, want)
		}
	})
}

func sameTrie(t *rapid.T, have trie[int], model map[uint64]int) {
	got := map[uint64]int{}
	last, first := uint64(0), true
	have.all(func(k uint64, v int) bool {
		if !first && k <= last {
			t.Fatalf("order of keys: got %d after %d", k, last)
		}
		got[k], last, first = v, k, false
		return true
	})
	if !maps.Equal(got, model) || have.len() != uint64(len(model)) {
		t.Fatalf("got %v (%d), want %v", got, have.len(), model)
	}
}

func TestFirstAbsentSkipsFullSubtrees(t *testing.T) {
	var have trie[struct{}]
	const n = 5000
	for k := range uint64(n) {
		have = have.set(k, struct{}{})
	}
	if got, ok := have.firstAbsent(0, n+1); !ok || got != n {
		t.Errorf("first absent: got %d, %v, want %d", got, ok, n)
	}
	if got, ok := have.firstAbsent(0, n); ok {
		t.Errorf("first absent of a full range: got %d, want none", got)
	}
	if got, _ := have.del(4711).firstAbsent(0, n); got != 4711 {
		t.Errorf("first absent after del(4711): got %d", got)
	}
}

// TestMetadata compares a pool's metadata with maps that are copied in full. It covers
// volumes, snapshots, deletes, unmaps, a metadata snapshot, commits and rollbacks.
func TestMetadata(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := New(Options{})
		dev := blockdev.Number{Major: 7, Minor: 1}
		check := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		check(k.AddDisk(dev, NewMemDisk(units.MiB)))
		m, err := k.openMetadata(dev, 128, true)
		check(err)
		m.edit().dataBlocks = 1 << 20
		check(m.commit())

		now := metadataModel{volumes: map[uint32]map[uint64]uint64{}}
		committed := now.clone()
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			id := rapid.Uint32Range(0, 300).Draw(t, "id")
			from, exists := now.anyVolume()
			low := rapid.Uint64Range(0, 900).Draw(t, "low")
			switch step := rapid.IntRange(0, 8).Draw(t, "step"); {
			case step == 0 && now.volumes[id] == nil:
				check(m.create(id))
				now.volumes[id] = map[uint64]uint64{}
			case step == 1 && exists && now.volumes[id] == nil:
				check(m.snapshot(id, from))
				now.volumes[id] = maps.Clone(now.volumes[from])
			case step == 2 && exists:
				check(m.delete(from))
				delete(now.volumes, from)
			case step == 3:
				check(m.commit())
				committed = now.clone()
			case step == 4:
				check(m.abort())
				now = committed.clone()
			case step == 5 && now.held == nil:
				check(m.reserveSnap())
				now.held = now.clone().volumes
			case step == 5:
				check(m.releaseSnap())
				now.held = nil
			case step == 6 && exists:
				m.unmap(from, low, low+200)
				maps.DeleteFunc(now.volumes[from], func(k, _ uint64) bool { return k >= low && k < low+200 })
			case step > 6 && exists:
				for virtual := low; virtual < low+rapid.Uint64Range(1, 300).Draw(t, "count"); virtual++ {
					block, err := m.allocData()
					check(err)
					if now.uses(block) || committed.uses(block) {
						t.Fatalf("allocated block: got %d, want one that is free in both transactions", block)
					}
					m.mapBlock(from, virtual, block)
					now.volumes[from][virtual] = block
				}
			}
		}
		now.compare(t, &m.cur)
		committed.compare(t, &m.old)
	})
}

// metadataModel holds the data block of each mapped block, by volume.
type metadataModel struct {
	volumes map[uint32]map[uint64]uint64
	held    map[uint32]map[uint64]uint64
}

func (m metadataModel) clone() metadataModel {
	c := metadataModel{volumes: map[uint32]map[uint64]uint64{}, held: m.held}
	for id, blocks := range m.volumes {
		c.volumes[id] = maps.Clone(blocks)
	}
	return c
}

func (m metadataModel) anyVolume() (uint32, bool) {
	ids := slices.Sorted(maps.Keys(m.volumes))
	if len(ids) == 0 {
		return 0, false
	}
	return ids[len(ids)/2], true
}

// used returns the data blocks in use.
func (m metadataModel) used() map[uint64]bool {
	used := map[uint64]bool{}
	for _, volumes := range []map[uint32]map[uint64]uint64{m.volumes, m.held} {
		for _, blocks := range volumes {
			for _, block := range blocks {
				used[block] = true
			}
		}
	}
	return used
}

func (m metadataModel) uses(block uint64) bool {
	for _, volumes := range []map[uint32]map[uint64]uint64{m.volumes, m.held} {
		for _, blocks := range volumes {
			for _, used := range blocks {
				if used == block {
					return true
				}
			}
		}
	}
	return false
}

func (m metadataModel) compare(t *rapid.T, s *state) {
	if got, want := blocksOf(s.volumes), m.volumes; !equalVolumes(got, want) {
		t.Fatalf("volumes: got %v, want %v", got, want)
	}
	switch {
	case (s.held == nil) != (m.held == nil):
		t.Fatalf("metadata snapshot: got %v, want %v", s.held, m.held)
	case s.held != nil && !equalVolumes(blocksOf(s.held.volumes), m.held):
		t.Fatalf("volumes of the metadata snapshot: got %v, want %v", blocksOf(s.held.volumes), m.held)
	}
	used := m.used()
	if s.usedData() != uint64(len(used)) {
		t.Fatalf("used data blocks: got %d, want %d", s.usedData(), len(used))
	}
	for block := range used {
		if !s.inUse(block) {
			t.Fatalf("data block %d: got it free, want it in use", block)
		}
	}
}

func blocksOf(volumes trie[volume]) map[uint32]map[uint64]uint64 {
	all := map[uint32]map[uint64]uint64{}
	volumes.all(func(id uint64, v volume) bool {
		blocks := map[uint64]uint64{}
		v.blocks.all(func(virtual uint64, at mapping) bool {
			blocks[virtual] = at.block
			return true
		})
		all[uint32(id)] = blocks
		return true
	})
	return all
}

func equalVolumes(a, b map[uint32]map[uint64]uint64) bool {
	return maps.EqualFunc(a, b, maps.Equal[map[uint64]uint64, map[uint64]uint64])
}

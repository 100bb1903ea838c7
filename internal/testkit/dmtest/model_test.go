package dmtest

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The tests in this file compare the trie and the tree with Go maps.

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

// TestTreesCountReferences compares a pool's metadata with maps that are copied in full.
// It covers devices, snapshots, deletes, unmaps, a metadata snapshot, commits and
// rollbacks.
func TestTreesCountReferences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := &sequence{}
		real := newState(ids, 128, 1024)
		model := map[uint64]map[uint64]uint64{}
		var held map[uint64]map[uint64]uint64
		committed, committedModel := real, deepCopy(model)
		real.epoch = ids.next()
		var committedHeld map[uint64]map[uint64]uint64
		next := uint64(0)
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			id := rapid.Uint64Range(0, 300).Draw(t, "id")
			s := &real
			switch rapid.IntRange(0, 8).Draw(t, "step") {
			case 0:
				if model[id] == nil {
					s.top, _ = s.devices().insert(s.top, id, s.mappings().empty())
					model[id] = map[uint64]uint64{}
				}
			case 1:
				if from, ok := anyKey(model); ok && model[id] == nil {
					root, _ := s.devices().get(s.top, from)
					s.incNode(root.id)
					s.top, _ = s.devices().insert(s.top, id, root)
					model[id] = maps.Clone(model[from])
				}
			case 2:
				if from, ok := anyKey(model); ok {
					s.top = s.devices().remove(s.top, from)
					delete(model, from)
				}
			case 3:
				committed, committedModel, committedHeld = real, deepCopy(model), held
				real.epoch = ids.next()
			case 4:
				real, model, held = committed, deepCopy(committedModel), committedHeld
				real.epoch = ids.next()
			case 5:
				if held == nil {
					s.incNode(s.top.id)
					s.held, held = s.top, deepCopy(model)
				} else {
					was := s.held
					s.held, held = nil, nil
					s.devices().release(was)
				}
			case 6:
				if from, ok := anyKey(model); ok {
					low := rapid.Uint64Range(0, 900).Draw(t, "low")
					s.top = s.devices().update(s.top, from, func(root *node[mapping]) *node[mapping] {
						for _, key := range s.mappings().keysIn(root, low, low+200) {
							root = s.mappings().remove(root, key)
						}
						return root
					})
					maps.DeleteFunc(model[from], func(k, _ uint64) bool { return k >= low && k < low+200 })
				}
			default:
				if from, ok := anyKey(model); ok {
					low := rapid.Uint64Range(0, 900).Draw(t, "low")
					for key := low; key < low+rapid.Uint64Range(1, 300).Draw(t, "count"); key++ {
						next++
						s.incData(next)
						s.top = s.devices().update(s.top, from, func(root *node[mapping]) *node[mapping] {
							root, _ = s.mappings().insert(root, key, mapping{block: next})
							return root
						})
						model[from][key] = next
					}
				}
			}
		}
		compareState(t, &real, model, held)
		compareState(t, &committed, committedModel, committedHeld)
	})
}

func anyKey(m map[uint64]map[uint64]uint64) (uint64, bool) {
	keys := slices.Sorted(maps.Keys(m))
	if len(keys) == 0 {
		return 0, false
	}
	return keys[len(keys)/2], true
}

func deepCopy(m map[uint64]map[uint64]uint64) map[uint64]map[uint64]uint64 {
	c := make(map[uint64]map[uint64]uint64, len(m))
	for k, v := range m {
		c[k] = maps.Clone(v)
	}
	return c
}

func compareState(t *rapid.T, s *state, model, held map[uint64]map[uint64]uint64) {
	blocks := map[uint64]bool{}
	for id, mappings := range model {
		root, ok := s.devices().get(s.top, id)
		if !ok {
			t.Fatalf("device %d: got none, want it in the tree", id)
		}
		keys := s.mappings().keysIn(root, 0, 1<<40)
		if !slices.Equal(keys, slices.Sorted(maps.Keys(mappings))) {
			t.Fatalf("mapped blocks of device %d: got %v, want %v", id, keys, slices.Sorted(maps.Keys(mappings)))
		}
		for virtual, block := range mappings {
			if at, _ := s.mappings().get(root, virtual); at.block != block {
				t.Fatalf("data block of device %d block %d: got %d, want %d", id, virtual, at.block, block)
			}
			blocks[block] = true
		}
	}
	for _, mappings := range held {
		for _, block := range mappings {
			blocks[block] = true
		}
	}
	if got := len(s.devices().keysIn(s.top, 0, 1<<40)); got != len(model) {
		t.Fatalf("devices: got %d, want %d", got, len(model))
	}
	if s.dataRefs.len() != uint64(len(blocks)) {
		t.Fatalf("used data blocks: got %d, want %d", s.dataRefs.len(), len(blocks))
	}
	for block := range blocks {
		if !s.dataRefs.has(block) {
			t.Fatalf("data block %d: got it free, want it in use", block)
		}
	}
	reached := map[uint64]bool{}
	reach(s.top, reached)
	if s.held != nil {
		reach(s.held, reached)
	}
	if s.nodes != uint64(len(reached)) {
		t.Fatalf("number of nodes: got %d, want %d", s.nodes, len(reached))
	}
}

func reach(n *node[*node[mapping]], seen map[uint64]bool) {
	seen[n.id] = true
	for _, kid := range n.kids {
		reach(kid, seen)
	}
	for _, root := range n.vals {
		reachLower(root, seen)
	}
}

func reachLower(n *node[mapping], seen map[uint64]bool) {
	seen[n.id] = true
	for _, kid := range n.kids {
		reachLower(kid, seen)
	}
}

package metadata

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thinctl/units"
)

// randomPool is metadata in which devices share leaves and whole trees at random, and a copy of
// all mappings.
type randomPool struct {
	file       *os.File
	superblock Superblock
	devices    map[uint32][]Mapping
	dataBlocks uint64
}

func newRandomPool(t testing.TB, seed uint64) *randomPool {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	f := &randomPool{file: target(t, 5000), devices: map[uint32][]Mapping{}, dataBlocks: 1 << 18}
	b := builder(t, f.file, BuildOptions{DataBlocks: f.dataBlocks, MetadataBlocks: 5000, Time: 9})
	subtree := must[Subtree](t)
	type tree struct {
		root     Subtree
		leaves   []Subtree
		mappings [][]Mapping
	}
	data := r.Perm(int(f.dataBlocks))
	newLeaf := func(first uint64) (Subtree, []Mapping) {
		var mappings []Mapping
		for i := range uint64(84 + r.IntN(100)) {
			mappings = append(mappings, Mapping{Virtual: first + i, Data: uint64(data[0]), Time: uint32(r.IntN(9))})
			data = data[1:]
		}
		return subtree(b.Leaf(mappings)), mappings
	}
	var trees []tree
	for id := range uint32(2 + r.IntN(30)) {
		next := tree{}
		switch {
		case len(trees) == 0 || r.IntN(4) == 0: // a new device
			for i := range uint64(r.IntN(300)) {
				leaf, mappings := newLeaf(200 * i)
				next.leaves, next.mappings = append(next.leaves, leaf), append(next.mappings, mappings)
			}
		case r.IntN(4) == 0: // a snapshot
			next = trees[r.IntN(len(trees))]
			trees = append(trees, next)
			if err := b.Device(Device{ID: id}, next.root); err != nil {
				t.Fatal(err)
			}
			for _, m := range next.mappings {
				f.devices[id] = append(f.devices[id], m...)
			}
			continue
		default: // a snapshot that was written to
			from := trees[r.IntN(len(trees))]
			next.leaves, next.mappings = append(next.leaves, from.leaves...), append(next.mappings, from.mappings...)
			for _, i := range r.Perm(len(next.leaves))[:r.IntN(min(10, len(next.leaves)+1))] {
				changed := append([]Mapping(nil), next.mappings[i]...)
				for range r.IntN(5) {
					changed[r.IntN(len(changed))].Data = uint64(data[0])
					data = data[1:]
				}
				next.leaves[i], next.mappings[i] = subtree(b.Leaf(changed)), changed
			}
		}
		next.root = subtree(b.Tree(next.leaves))
		trees = append(trees, next)
		if err := b.Device(Device{ID: id}, next.root); err != nil {
			t.Fatal(err)
		}
		f.devices[id] = nil
		for _, m := range next.mappings {
			f.devices[id] = append(f.devices[id], m...)
		}
	}
	var err error
	if f.superblock, err = b.Finish(); err != nil {
		t.Fatal(err)
	}
	return f
}

// usersOf returns the devices that map each data block.
func (f *randomPool) usersOf() map[uint64]map[uint32]bool {
	users := map[uint64]map[uint32]bool{}
	for id, mappings := range f.devices {
		for _, m := range mappings {
			if users[m.Data] == nil {
				users[m.Data] = map[uint32]bool{}
			}
			users[m.Data][id] = true
		}
	}
	return users
}

func (f *randomPool) scan(t testing.TB, o ScanOptions) *Map {
	t.Helper()
	return must[*Map](t)(Scan(t.Context(), f.file, f.superblock, o))
}

var scans = map[string]ScanOptions{
	"whole": {}, "one worker": {Workers: 1}, "windows": {Memory: regionSize},
	"bounded": {Memory: 3 * regionSize, DataBlocks: 1 << 18},
}

func TestScan(t *testing.T) {
	for seed := range uint64(6) {
		f := newRandomPool(t, seed)
		users := f.usersOf()
		for name, o := range scans {
			t.Run(fmt.Sprint(seed, " ", name), func(t *testing.T) {
				m := f.scan(t, o)
				f.checkUsage(t, m.Usage(), users)
				f.checkFreed(t, m, users, seed)
				f.checkOwners(t, m, seed)
				f.checkLayout(t, m, users)
			})
		}
	}
}

func (f *randomPool) checkUsage(t *testing.T, got Usage, users map[uint64]map[uint32]bool) {
	want := Usage{Used: uint64(len(users)), Nodes: got.Nodes}
	exclusive := map[uint32]uint64{}
	for _, who := range users {
		if len(who) == 1 {
			want.Exclusive++
			for id := range who {
				exclusive[id]++
			}
		}
	}
	want.Shared = want.Used - want.Exclusive
	for id := range uint32(len(f.devices)) {
		mapped := uint64(len(f.devices[id]))
		want.Devices = append(want.Devices, DeviceUsage{Device: Device{ID: id, MappedBlocks: mapped},
			Mapped: mapped, Exclusive: exclusive[id], Shared: mapped - exclusive[id]})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
}

func (f *randomPool) checkFreed(t *testing.T, m *Map, users map[uint64]map[uint32]bool, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	for range 5 {
		var ids []uint32
		in := map[uint32]bool{}
		for id := range f.devices {
			if r.IntN(2) == 0 {
				ids, in[id] = append(ids, id), true
			}
		}
		want := uint64(0)
		for _, who := range users {
			freed := true
			for id := range who {
				freed = freed && in[id]
			}
			if freed {
				want++
			}
		}
		if got, err := m.Freed(t.Context(), ids...); err != nil || got != want {
			t.Errorf("without devices %v: got %d blocks freed, %v; want %d", ids, got, err, want)
		}
	}
}

func (f *randomPool) checkOwners(t *testing.T, m *Map, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	for range 3 {
		begin := r.Uint64N(f.dataBlocks)
		end := begin + r.Uint64N(1000)
		type at struct {
			device        uint32
			virtual, data uint64
			time          uint32
		}
		want, got := map[at]bool{}, map[at]bool{}
		for id, mappings := range f.devices {
			for _, m := range mappings {
				if m.Data >= begin && m.Data < end {
					want[at{id, m.Virtual, m.Data, m.Time}] = true
				}
			}
		}
		last := Owner{}
		err := m.Owners(t.Context(), begin, end, func(o Owner) error {
			if o.Data < last.Data || o.Data == last.Data && o.Device < last.Device {
				t.Errorf("got owner %+v after %+v", o, last)
			}
			last = o
			for i := range o.Blocks {
				got[at{o.Device, o.Virtual + i, o.Data + i, o.Time}] = true
			}
			return nil
		})
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(at{})); err != nil || diff != "" {
			t.Fatalf("owners of blocks %d to %d: %v (-want +got):\n%s", begin, end, err, diff)
		}
	}
}

func (f *randomPool) checkLayout(t *testing.T, m *Map, users map[uint64]map[uint32]bool) {
	next, last := uint64(0), Span{}
	err := m.Layout(t.Context(), func(s Span) error {
		if s.Begin != next || s.Blocks == 0 || s.Begin > 0 && s.Kind == last.Kind && s.Device == last.Device {
			t.Errorf("got span %+v after %+v", s, last)
		}
		next, last = s.Begin+s.Blocks, s
		for block := s.Begin; block < next; block++ {
			who := users[block]
			kind := [...]SpanKind{Free, Exclusive, Shared}[min(len(who), 2)]
			if s.Kind != kind || kind == Exclusive && !who[s.Device] {
				t.Errorf("block %d of devices %v: got span %+v", block, who, s)
			}
		}
		return nil
	})
	if err != nil || next != f.dataBlocks {
		t.Errorf("got a layout of %d blocks, %v; want %d", next, err, f.dataBlocks)
	}
}

func TestCheckOfSoundPools(t *testing.T) {
	for seed := range uint64(6) {
		f := newRandomPool(t, seed)
		for name, memory := range map[string]units.Bytes{"whole": 0, "windows": regionSize} {
			report, err := Check(t.Context(), f.file, CheckOptions{Memory: memory, Blocks: 5000})
			if err != nil || len(report.Findings) > 0 || !report.Complete {
				t.Errorf("seed %d, %s: got findings %+v, %v; want none", seed, name, report.Findings, err)
			}
		}
	}
}

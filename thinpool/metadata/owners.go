package metadata

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
)

// Owner is a run of data blocks and the thin device that maps it.
type Owner struct {
	Data, Blocks uint64
	Device       uint32
	Virtual      uint64
	Time         uint32
}

// Owners calls visit with all mappings of the data blocks in [begin, end), ordered by data
// block, then by device. It reads only the leaves that map the range, or all leaves if a block
// of the range is shared. It holds 32 bytes for each run of each device in the range.
func (m *Map) Owners(ctx context.Context, begin, end uint64, visit func(Owner) error) error {
	owners, err := m.owners(ctx, begin, end)
	if err != nil {
		return fmt.Errorf("find owners of data blocks %d to %d: %w", begin, end, err)
	}
	for _, o := range owners {
		if err := visit(o); err != nil {
			return err
		}
	}
	return nil
}

func (m *Map) owners(ctx context.Context, begin, end uint64) ([]Owner, error) {
	leaves, blocks := m.leaves(m.leavesInRange(begin, end))
	var mu sync.Mutex
	hits := map[uint32][]Owner{} // by leaf, without the device
	err := m.graph.reader.each(ctx, blocks, func(_, i int, b []byte, err error) error {
		n, err := m.reread(leaves[i], b, err)
		if err != nil {
			return err
		}
		if found := ownedRuns(n, begin, end); len(found) > 0 {
			mu.Lock()
			defer mu.Unlock()
			hits[leaves[i]] = found
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var owners []Owner
	for leaf, devices := range m.devicesOf(hits) {
		for _, id := range devices {
			for _, o := range hits[leaf] {
				o.Device = id
				owners = append(owners, o)
			}
		}
	}
	slices.SortFunc(owners, func(a, b Owner) int {
		return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.Virtual, b.Virtual))
	})
	owners = joinRuns(owners)
	slices.SortFunc(owners, func(a, b Owner) int {
		return cmp.Or(cmp.Compare(a.Data, b.Data), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Virtual, b.Virtual))
	})
	return owners, nil
}

// leavesInRange selects the leaves that may map a block of the range.
func (m *Map) leavesInRange(begin, end uint64) func(uint32, *vertex) bool {
	all := func(uint32, *vertex) bool { return true }
	if m.refs == nil {
		return all
	}
	wanted := map[uint32]bool{}
	for n := begin / regionBlocks; n*regionBlocks < end && n < allRegions; n++ {
		r := m.refs.lookup(n)
		if r == nil {
			continue
		}
		first := max(begin, n*regionBlocks) - n*regionBlocks
		for _, ref := range r[first:min(end-n*regionBlocks, regionBlocks)] {
			if ref&countFlag != 0 {
				return all
			}
			if ref != 0 {
				wanted[ref] = true
			}
		}
	}
	return func(n uint32, _ *vertex) bool { return wanted[n] }
}

// ownedRuns returns a leaf's mappings to blocks of the range.
func ownedRuns(n node, begin, end uint64) []Owner {
	var runs []Owner
	for i := range n.entries {
		packed := binary.LittleEndian.Uint64(n.value(i))
		if block := packed >> timeBits; block >= begin && block < end {
			runs = append(runs, Owner{Data: block, Blocks: 1, Virtual: n.key(i), Time: uint32(packed & maxTime)})
		}
	}
	return joinRuns(runs)
}

// joinRuns joins adjacent runs.
func joinRuns(runs []Owner) []Owner {
	joined := runs[:0]
	for _, o := range runs {
		if k := len(joined) - 1; k >= 0 {
			p := &joined[k]
			if p.Device == o.Device && p.Time == o.Time && p.Virtual+p.Blocks == o.Virtual && p.Data+p.Blocks == o.Data {
				p.Blocks += o.Blocks
				continue
			}
		}
		joined = append(joined, o)
	}
	return joined
}

// devicesOf returns the devices that reach each leaf.
func (m *Map) devicesOf(leaves map[uint32][]Owner) map[uint32][]uint32 {
	parents := make([][]uint32, len(m.graph.vertices))
	wanted := make([]bool, len(m.graph.vertices))
	for leaf := range leaves {
		wanted[leaf] = true
	}
	for _, number := range slices.Backward(m.order) { // children first
		v := &m.graph.vertices[number]
		if v.tree != mappingTree {
			continue
		}
		for _, child := range m.graph.children(v) {
			if wanted[child] {
				wanted[number] = true
				parents[child] = append(parents[child], number)
			}
		}
	}
	ids := map[uint32][]uint32{} // by root
	for _, r := range m.roots {
		ids[r.root] = append(ids[r.root], r.id)
	}
	devices := map[uint32][]uint32{}
	for leaf := range leaves {
		seen, above := map[uint32]bool{leaf: true}, []uint32{leaf}
		for len(above) > 0 {
			number := above[len(above)-1]
			above = above[:len(above)-1]
			devices[leaf] = append(devices[leaf], ids[number]...)
			for _, parent := range parents[number] {
				if !seen[parent] {
					seen[parent] = true
					above = append(above, parent)
				}
			}
		}
	}
	return devices
}

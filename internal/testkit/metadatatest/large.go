package metadatatest

import (
	"io"

	"thinctl/thinpool/metadata"
)

// Large describes a pool of families. A family is one device and its snapshots, each with
// changes in several places. Families share nothing, so only one is in memory at a time, which
// takes about 20 bytes for each of its stored mappings.
type Large struct {
	Seed     uint64
	Families int
	Devices  int    // in each family; their ids are consecutive, from 0 on
	Mappings uint64 // of each family's first device
	Changes  int    // number of leaves that differ in each snapshot
	Run      uint64 // mean length of a run of mappings; 0: 30
	Fill     int    // entries in a node of the first device, 84 to 252; 0: 170

	Shuffle        bool
	MetadataBlocks uint64 // 0: enough
}

// StoredMappings returns the approximate number of entries in all leaves.
func (l Large) StoredMappings() uint64 {
	l = l.complete()
	return l.stored()
}

func (l Large) stored() uint64 {
	return uint64(l.Families) * (l.Mappings + uint64((l.Devices-1)*l.Changes*l.Fill))
}

func (l Large) complete() Large {
	if l.Fill == 0 {
		l.Fill = 170
	}
	if l.Run == 0 {
		l.Run = 30
	}
	if l.MetadataBlocks == 0 {
		// With a leaf, two or three internal nodes may be copied.
		leaves := l.stored() / uint64(l.Fill)
		l.MetadataBlocks = min(metadata.MaxBlocks, leaves*5/4+l.dataBlocks()/16320*2+uint64(l.Families*l.Devices)*8+1000)
	}
	return l
}

// Save writes the pool to w. If usage is not nil, it is called with the usage of each family,
// which takes as long as the writing.
func (l Large) Save(w io.WriterAt, usage func(map[uint32]Usage)) (metadata.Superblock, error) {
	l = l.complete()
	b, err := metadata.NewBuilder(w, metadata.BuildOptions{
		DataBlocks: l.dataBlocks(), MetadataBlocks: l.MetadataBlocks, Time: uint32(l.Devices + 1), TransactionID: l.Seed,
		Allocate: placer(l.MetadataBlocks, l.Shuffle, l.Seed),
	})
	if err != nil {
		return metadata.Superblock{}, err
	}
	next := uint64(0)
	for f := range l.Families {
		p := l.family(f, next)
		next = p.next
		saver := saver{b: b, written: make(map[*node]metadata.Subtree)}
		if err := saver.devices(p.Live()); err != nil {
			return metadata.Superblock{}, err
		}
		if usage != nil {
			usage(p.Live().Usage())
		}
	}
	return b.Finish()
}

func (l Large) dataBlocks() uint64 {
	// Runs are about one block apart; a change writes at most 4 blocks.
	return uint64(l.Families) * (l.Mappings + 2*l.Mappings/l.Run + uint64(4*l.Devices*(l.Changes+1)) + 1000)
}

func (l Large) family(f int, next uint64) *Pool {
	p := New(l.Seed + uint64(f)<<20)
	p.next = next
	first := uint32(f * l.Devices)
	p.Load(first, l.Mappings, l.Run, l.Fill)
	leaves := l.Mappings / uint64(l.Fill)
	for i := 1; i < l.Devices; i++ {
		id := first + uint32(i)
		p.Snapshot(id, first+p.rng.Uint32N(uint32(i)))
		end := l.Mappings + l.Mappings/l.Run*l.Run/2
		if l.Changes > 0 && leaves > 0 {
			p.change(id, end, l.Changes)
		}
	}
	return p
}

// change writes at n evenly spaced places, so that nearly as many leaves are copied.
func (p *Pool) change(id uint32, end uint64, n int) {
	step := max(1, end/uint64(n))
	for at := p.rng.Uint64N(step); at < end; at += step {
		p.Write(id, at, 1+p.rng.Uint64N(4))
	}
}

package metadatatest

import (
	"thinctl/thinpool/metadata"
)

// Random returns a small pool with any shape: up to a dozen devices of up to some thousand
// mappings, which share all, some or none of them. One pool of three has a held root of an
// earlier state.
func Random(seed uint64) *Pool {
	p := New(seed)
	size := []uint64{3, 40, 300, 300, 3000}[p.rng.IntN(5)]
	hold := p.rng.IntN(3) == 0
	steps := p.rng.IntN(30)
	for i := range steps {
		if hold && i == steps/2 {
			p.Hold()
		}
		p.step(size)
	}
	return p
}

// RichDataBlocks is a data device size for which the data index has two levels.
const RichDataBlocks = 200 * 16320

// Rich returns a pool with all features: trees of one to three levels, snapshots, counts over 2
// of metadata and data blocks, and a held root. Saved for RichDataBlocks it takes about 4 MiB.
func Rich(seed uint64) *Pool {
	p := New(seed)
	p.Create(1)
	p.Load(2, 40000, 20, nodeMin)
	p.Load(3, 300, 5, 150)
	p.Load(4, 8000, 20, nodeMin)
	for id := uint32(10); id < 15; id++ {
		p.Snapshot(id, 2)
		for at := uint64(0); at < 44000; at += 4000 {
			p.Write(id, at+p.rng.Uint64N(10), 1)
		}
		p.Discard(id, p.rng.Uint64N(40000), 1+p.rng.Uint64N(50))
	}
	for id := uint32(100); id < 500; id++ {
		p.Snapshot(id, 3)
	}
	p.Hold()
	for id := uint32(30); id < 34; id++ {
		p.Snapshot(id, 3)
		p.Write(id, p.rng.Uint64N(300), 1+p.rng.Uint64N(50))
	}
	p.Delete(4)
	p.Delete(10)
	p.Load(metadata.MaxDeviceID, 10, 2, nodeMax)
	return p
}

func (p *Pool) step(size uint64) {
	ids := p.Live().IDs()
	if len(ids) == 0 {
		p.addDevice(size)
		return
	}
	id := ids[p.rng.IntN(len(ids))]
	switch p.rng.IntN(12) {
	case 0, 1:
		p.addDevice(size)
	case 2, 3, 4:
		p.Snapshot(p.freeID(), id)
	case 5, 6, 7:
		p.Write(id, p.rng.Uint64N(size), 1+p.rng.Uint64N(size))
	case 8:
		for range p.rng.Uint64N(size/4 + 2) {
			p.Write(id, p.rng.Uint64N(2*size), 1+p.rng.Uint64N(3))
		}
	case 9:
		p.Discard(id, p.rng.Uint64N(size), 1+p.rng.Uint64N(size))
	case 10:
		for range p.rng.Uint64N(size/4 + 2) {
			p.Discard(id, p.rng.Uint64N(2*size), 1)
		}
		p.Skip(p.rng.Uint64N(100))
	case 11:
		p.Delete(id)
	}
}

func (p *Pool) addDevice(size uint64) {
	if p.rng.IntN(2) == 0 {
		p.Create(p.freeID())
		return
	}
	p.Load(p.freeID(), p.rng.Uint64N(2*size), 1+p.rng.Uint64N(30), nodeMin+p.rng.IntN(nodeMax-nodeMin+1))
}

func (p *Pool) freeID() uint32 {
	for {
		id := p.rng.Uint32N(40)
		if p.rng.IntN(5) == 0 {
			id = p.rng.Uint32N(metadata.MaxDeviceID + 1)
		}
		if _, taken := p.live[id]; !taken {
			return id
		}
	}
}

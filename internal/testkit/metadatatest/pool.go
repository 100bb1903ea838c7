package metadatatest

import (
	"fmt"
	"math/rand/v2"

	"thinctl/thinpool/metadata"
)

// Pool is a model of a thin pool's metadata. It panics where a device that is
// asked for is not there.
type Pool struct {
	rng               *rand.Rand
	time              uint32
	transaction       uint64
	next              uint64 // data block to be taken
	live              map[uint32]*device
	held              map[uint32]*device // nil: no held root
	heldTime          uint32
	heldTransactionID uint64
}

type device struct {
	metadata.Device
	root *node
}

// New returns an empty pool that takes its chances from seed.
func New(seed uint64) *Pool {
	return &Pool{rng: rand.New(rand.NewPCG(seed, 1)), live: make(map[uint32]*device)}
}

func (p *Pool) device(id uint32) *device {
	d, ok := p.live[id]
	if !ok {
		panic(fmt.Sprintf("metadatatest: no device %d", id))
	}
	return d
}

// Create makes an empty device.
func (p *Pool) Create(id uint32) { p.add(id, &node{refs: 1}) }

func (p *Pool) add(id uint32, root *node) {
	if _, twice := p.live[id]; twice {
		panic(fmt.Sprintf("metadatatest: device %d twice", id))
	}
	p.live[id] = &device{metadata.Device{
		ID: id, TransactionID: p.transaction, CreationTime: p.time, SnapshottedTime: p.time,
	}, root}
	p.transaction++
}

// Snapshot makes device id from origin (dm-thin-metadata.c, __create_snap).
func (p *Pool) Snapshot(id, origin uint32) {
	o := p.device(origin)
	p.time++
	o.root.refs++
	p.add(id, o.root)
	o.SnapshottedTime = p.time
}

// Delete takes a device away.
func (p *Pool) Delete(id uint32) {
	release(p.device(id).root)
	delete(p.live, id)
	p.transaction++
}

// Write writes to virtual blocks of a device: those that are not mapped, or
// are shared, get a new data block.
func (p *Pool) Write(id uint32, virtual, blocks uint64) {
	d := p.device(id)
	for end := virtual + blocks; virtual < end; virtual++ {
		// dm-thin-metadata.c, __snapshotted_since.
		value, mapped := d.root.find(virtual)
		if mapped && uint32(value)&(1<<24-1) >= d.SnapshottedTime {
			continue
		}
		d.root = insert(d.root, virtual, p.next<<24|uint64(p.time))
		p.next++
	}
}

// Skip leaves data blocks free.
func (p *Pool) Skip(blocks uint64) { p.next += blocks }

// Discard unmaps virtual blocks of a device.
func (p *Pool) Discard(id uint32, virtual, blocks uint64) {
	d := p.device(id)
	for end := virtual + blocks; virtual < end; virtual++ {
		if _, mapped := d.root.find(virtual); mapped {
			d.root = remove(d.root, virtual)
		}
	}
}

// Load makes a device of n mappings whose nodes hold fill entries, 84 to 252,
// in runs of about run blocks: far quicker than writing them.
func (p *Pool) Load(id uint32, n, run uint64, fill int) {
	keys, vals := make([]uint64, 0, n), make([]uint64, 0, n)
	virtual := p.rng.Uint64N(run + 1)
	for left := uint64(0); uint64(len(keys)) < n; left-- {
		if left == 0 {
			left = 1 + p.rng.Uint64N(2*run)
			virtual += p.rng.Uint64N(run + 1)
			p.next += p.rng.Uint64N(3)
		}
		keys, vals = append(keys, virtual), append(vals, p.next<<24|uint64(p.time))
		virtual++
		p.next++
	}
	p.add(id, bulk(keys, vals, fill))
}

// Hold reserves a metadata snapshot, or moves it to where the pool is now.
func (p *Pool) Hold() {
	p.Release()
	p.held, p.heldTime, p.heldTransactionID = make(map[uint32]*device), p.time, p.transaction
	for id, d := range p.live {
		d.root.refs++
		p.held[id] = &device{d.Device, d.root}
	}
}

// Release gives the metadata snapshot up.
func (p *Pool) Release() {
	for _, d := range p.held {
		release(d.root)
	}
	p.held = nil
}

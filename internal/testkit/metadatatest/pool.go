package metadatatest

import (
	"fmt"
	"math/rand/v2"

	"thinctl/thinpool/metadata"
)

// Pool is a model of a thin pool's metadata. Its methods panic if a device does not exist.
type Pool struct {
	rng               *rand.Rand
	time              uint32
	transaction       uint64
	next              uint64 // next free data block
	live              map[uint32]*device
	held              map[uint32]*device // nil: no held root
	heldTime          uint32
	heldTransactionID uint64
}

type device struct {
	metadata.Device
	root *node
}

// New returns an empty pool with a random source of that seed.
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

// Create creates an empty device.
func (p *Pool) Create(id uint32) { p.add(id, &node{refs: 1}) }

func (p *Pool) add(id uint32, root *node) {
	if _, twice := p.live[id]; twice {
		panic(fmt.Sprintf("metadatatest: device %d exists already", id))
	}
	p.live[id] = &device{metadata.Device{
		ID: id, TransactionID: p.transaction, CreationTime: p.time, SnapshottedTime: p.time,
	}, root}
	p.transaction++
}

// Snapshot creates device id as a snapshot of origin (dm-thin-metadata.c, __create_snap).
func (p *Pool) Snapshot(id, origin uint32) {
	o := p.device(origin)
	p.time++
	o.root.refs++
	p.add(id, o.root)
	o.SnapshottedTime = p.time
}

// Delete deletes a device.
func (p *Pool) Delete(id uint32) {
	release(p.device(id).root)
	delete(p.live, id)
	p.transaction++
}

// Write writes to virtual blocks of a device. Blocks that are not mapped, or are shared, get a
// new data block.
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

// Skip leaves the next data blocks free.
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

// Load creates a device of n mappings in runs of about run blocks, with fill entries in a node,
// 84 to 252. It is much faster than Write.
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
	p.add(id, buildTree(keys, vals, fill))
}

// Hold reserves a metadata snapshot, in place of the one before.
func (p *Pool) Hold() {
	p.Release()
	p.held, p.heldTime, p.heldTransactionID = make(map[uint32]*device), p.time, p.transaction
	for id, d := range p.live {
		d.root.refs++
		p.held[id] = &device{d.Device, d.root}
	}
}

// Release releases the metadata snapshot.
func (p *Pool) Release() {
	for _, d := range p.held {
		release(d.root)
	}
	p.held = nil
}

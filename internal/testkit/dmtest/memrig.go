package dmtest

import (
	"sync"
	"testing"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/units"
)

// MemRig is a [Rig] around a fake kernel and disks in memory.
type MemRig struct {
	*testing.T
	Fake *Kernel

	mu   sync.Mutex
	next uint32
}

var _ Rig = (*MemRig)(nil)

// NewRig returns a rig around k.
func NewRig(t *testing.T, k *Kernel) *MemRig { return &MemRig{T: t, Fake: k} }

// Kernel implements [Rig].
func (r *MemRig) Kernel() dm.Kernel { return r.Fake }

// Disk implements [Rig]; its numbers are those of loop devices.
func (r *MemRig) Disk(size units.Bytes) blockdev.Number {
	r.Helper()
	return r.Attach(NewMemDisk(size))
}

// Attach puts a disk under a number that is free.
func (r *MemRig) Attach(disk Disk) blockdev.Number {
	r.Helper()
	r.mu.Lock()
	dev := blockdev.Number{Major: 7, Minor: r.next}
	r.next++
	r.mu.Unlock()
	if err := r.Fake.AddDisk(dev, disk); err != nil {
		r.Fatal(err)
	}
	return dev
}

// Grow implements [Rig].
func (r *MemRig) Grow(dev blockdev.Number, size units.Bytes) {
	r.Helper()
	if err := r.Fake.ResizeDisk(dev, size); err != nil {
		r.Fatal(err)
	}
}

// Write implements [Rig].
func (r *MemRig) Write(dev blockdev.Number, offset, length units.Bytes) error {
	return r.Fake.Write(dev, offset, length)
}

// Discard implements [Rig].
func (r *MemRig) Discard(dev blockdev.Number, offset, length units.Bytes) error {
	return r.Fake.Discard(dev, offset, length)
}

// Hold implements [Rig].
func (r *MemRig) Hold(dev blockdev.Number) (func(), error) { return r.Fake.Hold(dev) }

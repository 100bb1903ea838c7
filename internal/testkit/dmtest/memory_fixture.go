package dmtest

import (
	"sync"
	"testing"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/units"
)

// MemFixture is a [Fixture] with a fake kernel and disks in memory.
type MemFixture struct {
	*testing.T
	Fake *Kernel

	mu   sync.Mutex
	next uint32
}

var _ Fixture = (*MemFixture)(nil)

// NewFixture returns a fixture with the kernel k.
func NewFixture(t *testing.T, k *Kernel) *MemFixture { return &MemFixture{T: t, Fake: k} }

// Kernel implements [Fixture].
func (r *MemFixture) Kernel() dm.Kernel { return r.Fake }

// Disk implements [Fixture]. The disks have the major number of loop devices.
func (r *MemFixture) Disk(size units.Bytes) blockdev.Number {
	r.Helper()
	return r.Attach(NewMemDisk(size))
}

// Attach adds a disk with a free device number.
func (r *MemFixture) Attach(disk Disk) blockdev.Number {
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

// Grow implements [Fixture].
func (r *MemFixture) Grow(dev blockdev.Number, size units.Bytes) {
	r.Helper()
	if err := r.Fake.ResizeDisk(dev, size); err != nil {
		r.Fatal(err)
	}
}

// Write implements [Fixture].
func (r *MemFixture) Write(dev blockdev.Number, offset, length units.Bytes) error {
	return r.Fake.Write(dev, offset, length)
}

// Discard implements [Fixture].
func (r *MemFixture) Discard(dev blockdev.Number, offset, length units.Bytes) error {
	return r.Fake.Discard(dev, offset, length)
}

// Hold implements [Fixture].
func (r *MemFixture) Hold(dev blockdev.Number) (func(), error) { return r.Fake.Hold(dev) }

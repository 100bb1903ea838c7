package dmtest

import (
	"errors"
	"os"
	"testing"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/units"
)

func newSuite(t *testing.T, options Options) (*suite, *Kernel) {
	k := New(options)
	return &suite{T: t, Fixture: NewFixture(t, k), k: k, ctx: t.Context(), prefix: "fake"}, k
}

// attachPool adds a pool's disks to a kernel and activates the pool.
func attachPool(t *testing.T, k *Kernel, meta, data Disk, size uint64) *testPool {
	t.Helper()
	fixture := NewFixture(t, k)
	s := &suite{T: t, Fixture: fixture, k: k, ctx: t.Context(), prefix: "fake"}
	p := &testPool{suite: s, table: dm.ThinPool{
		Length: blocks(size).Sectors(), Block: poolBlock.Sectors(),
		Metadata: fixture.Attach(meta), Data: fixture.Attach(data),
	}}
	info, err := k.Create(s.ctx, s.name(), "")
	s.must(err)
	p.dev = info.Dev
	s.must(s.load(p.dev, p.table))
	s.must(s.resume(p.dev))
	return p
}

// volume activates a volume without a cleanup, for tests that call PowerOff.
func (p *testPool) volume(id uint32, size uint64) blockdev.Number {
	p.Helper()
	info, err := p.k.Create(p.ctx, p.name(), "")
	p.must(err)
	p.must(p.load(info.Dev, dm.Thin{Length: blocks(size).Sectors(), Pool: p.dev, ID: id}))
	p.must(p.resume(info.Dev))
	return info.Dev
}

// stamp checks the stamp of a block.
func stamp(t *testing.T, k *Kernel, dev blockdev.Number, block, want uint64) {
	t.Helper()
	if got, err := k.ReadStamp(dev, block); err != nil || got != want {
		t.Errorf("stamp of block %d: got %d, %v, want %d", block, got, err, want)
	}
}

func writeSparse(path string, size units.Bytes) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(int64(size)), f.Close())
}

package dmtest

import (
	"errors"
	"os"
	"testing"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/units"
)

func newBench(t *testing.T, options Options) (*bench, *Kernel) {
	k := New(options)
	return &bench{T: t, Rig: NewRig(t, k), k: k, ctx: t.Context(), prefix: "fake"}, k
}

// attachPool puts a pool's disks under a kernel and makes the pool live.
func attachPool(t *testing.T, k *Kernel, meta, data Disk, size uint64) *testPool {
	t.Helper()
	rig := NewRig(t, k)
	b := &bench{T: t, Rig: rig, k: k, ctx: t.Context(), prefix: "fake"}
	p := &testPool{bench: b, table: dm.ThinPool{
		Length: blocks(size).Sectors(), Metadata: rig.Attach(meta), Data: rig.Attach(data), Block: poolBlock.Sectors(),
	}}
	info, err := k.Create(b.ctx, b.name(), "")
	b.must(err)
	p.dev = info.Dev
	b.must(b.load(p.dev, p.table))
	b.must(b.resume(p.dev))
	return p
}

// volume activates without a clean-up, for tests that lose the power.
func (p *testPool) volume(id uint32, size uint64) blockdev.Number {
	p.Helper()
	info, err := p.k.Create(p.ctx, p.name(), "")
	p.must(err)
	p.must(p.load(info.Dev, dm.Thin{Length: blocks(size).Sectors(), Pool: p.dev, ID: id}))
	p.must(p.resume(info.Dev))
	return info.Dev
}

func stamp(t *testing.T, k *Kernel, dev blockdev.Number, block, want uint64) {
	t.Helper()
	if got, err := k.ReadStamp(dev, block); err != nil || got != want {
		t.Errorf("block %d holds %d (%v), want %d", block, got, err, want)
	}
}

func writeSparse(path string, size units.Bytes) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(int64(size)), f.Close())
}

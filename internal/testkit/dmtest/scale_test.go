package dmtest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/units"
)

func TestConcurrentUse(t *testing.T) {
	b, k := newBench(t, Options{})
	p := b.newPool(100, nil)
	var wg sync.WaitGroup
	for id := range uint32(8) {
		wg.Go(func() {
			for round := range 20 {
				if err := lifetime(b, k, p.dev, id, round); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	p.used(0)
}

// lifetime makes a volume, writes to it, and takes it away again.
func lifetime(b *bench, k *Kernel, pool blockdev.Number, id uint32, round int) error {
	create := b.message(pool, "create_thin %d", id)
	info, err := k.Create(b.ctx, dm.Name(fmt.Sprintf("c-%d-%d", id, round)), "")
	_, _, status := k.Status(b.ctx, dm.ByDev(pool), dm.StatusOptions{NoFlush: true})
	_, list := k.List(b.ctx)
	return errors.Join(create, err, status, list,
		b.load(info.Dev, dm.Thin{Length: blocks(4).Sectors(), Pool: pool, ID: id}),
		b.resume(info.Dev),
		k.WriteStamp(info.Dev, 1, uint64(id)),
		func() error { _, err := k.Remove(b.ctx, dm.ByDev(info.Dev), dm.RemoveOptions{}); return err }(),
		b.message(pool, "delete %d", id))
}

func TestTenThousandThins(t *testing.T) {
	b, k := newBench(t, Options{})
	p := b.newPool(100, func(p *dm.ThinPool) { p.Metadata = b.Disk(256 * units.MiB) })
	dev := p.addThin(0, 90)
	p.fill(dev, 0, 90)
	b.suspend(dev)
	const n = 10_000
	began := time.Now()
	for id := 1; id <= n; id++ {
		b.must(p.message(p.dev, "create_snap %d 0", id))
	}
	b.must(b.resume(dev))
	p.used(90)
	for id := 1; id <= n; id++ {
		b.must(p.message(p.dev, "delete %d", id))
	}
	p.used(90)
	t.Logf("%d snapshots made and deleted in %s, %d commits", n, time.Since(began), k.Commits())
}

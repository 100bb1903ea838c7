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
	s, k := newSuite(t, Options{})
	p := s.newPool(100, nil)
	var wg sync.WaitGroup
	for id := range uint32(8) {
		wg.Go(func() {
			for round := range 20 {
				if err := lifetime(s, k, p.dev, id, round); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	p.used(0)
}

// lifetime creates a volume, writes to it, and deletes it.
func lifetime(s *suite, k *Kernel, pool blockdev.Number, id uint32, round int) error {
	create := s.message(pool, "create_thin %d", id)
	info, err := k.Create(s.ctx, dm.Name(fmt.Sprintf("c-%d-%d", id, round)), "")
	_, _, status := k.Status(s.ctx, dm.ByDev(pool), dm.StatusOptions{NoFlush: true})
	_, list := k.List(s.ctx)
	return errors.Join(create, err, status, list,
		s.load(info.Dev, dm.Thin{Length: blocks(4).Sectors(), Pool: pool, ID: id}),
		s.resume(info.Dev),
		k.WriteStamp(info.Dev, 1, uint64(id)),
		func() error { _, err := k.Remove(s.ctx, dm.ByDev(info.Dev), dm.RemoveOptions{}); return err }(),
		s.message(pool, "delete %d", id))
}

func TestTenThousandThins(t *testing.T) {
	s, k := newSuite(t, Options{})
	p := s.newPool(100, func(p *dm.ThinPool) { p.Metadata = s.Disk(256 * units.MiB) })
	dev := p.addThin(0, 90)
	p.fill(dev, 0, 90)
	s.suspend(dev)
	const n = 10_000
	began := time.Now()
	for id := 1; id <= n; id++ {
		s.must(p.message(p.dev, "create_snap %d 0", id))
	}
	s.must(s.resume(dev))
	p.used(90)
	for id := 1; id <= n; id++ {
		s.must(p.message(p.dev, "delete %d", id))
	}
	p.used(90)
	t.Logf("created and deleted %d snapshots in %s, %d commits", n, time.Since(began), k.Commits())
}

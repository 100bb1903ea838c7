package dmtest

import (
	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/units"
)

// poolContract tests a pool's tables and sizes.
func poolContract() map[string]func(*suite) {
	return map[string]func(*suite){
		"a fresh pool": func(s *suite) {
			got := s.newPool(8, nil).status()
			equal(s, "status", got, dm.PoolStatus{
				TotalData: 8, UsedMetadata: got.UsedMetadata, TotalMetadata: uint64(diskSize / (4 * units.KiB)),
				Discard: got.Discard, MetadataLow: 512,
			})
			if got.UsedMetadata == 0 || got.UsedMetadata >= got.TotalMetadata/2 {
				s.Errorf("used metadata: got %d of %d, want less than half", got.UsedMetadata, got.TotalMetadata)
			}
		},
		"data grows": func(s *suite) {
			p := s.newPool(uint64(diskSize/poolBlock), nil)
			p.table.Length = (diskSize + blocks(16)).Sectors()
			s.Grow(p.table.Data, diskSize+blocks(16))
			s.must(s.swap(p.dev, p.table))
			equal(s, "total", p.status().TotalData, uint64(diskSize/poolBlock)+16)
		},
		"data does not shrink": func(s *suite) {
			p := s.newPool(8, nil)
			small := p.table
			small.Length = blocks(4).Sectors()
			s.wantErrno(s.swap(p.dev, small), unix.EINVAL, nil)
			equal(s, "suspended", s.info(p.dev).Suspended, true)
			s.must(s.load(p.dev, p.table))
			s.must(s.resume(p.dev))
			equal(s, "total", p.status().TotalData, 8)
			p.addThin(1, 8)
		},
		"metadata grows at resume": func(s *suite) {
			p := s.newPool(8, nil)
			s.Grow(p.table.Metadata, 2*diskSize)
			equal(s, "total before", p.status().TotalMetadata, uint64(diskSize/(4*units.KiB)))
			s.suspend(p.dev)
			s.must(s.resume(p.dev))
			equal(s, "total after", p.status().TotalMetadata, uint64(2*diskSize/(4*units.KiB)))
		},
		"metadata of another pool": func(s *suite) {
			p := s.newPool(8, nil)
			thief := p.table
			thief.Data = s.Disk(diskSize)
			dev := s.create(s.name(), "").Dev
			s.wantErrno(s.load(dev, thief), unix.EBUSY, fault.Busy)
		},
		"a pool does not become another": func(s *suite) {
			p := s.newPool(8, nil)
			other := p.table
			other.Metadata, other.Data = s.Disk(diskSize), s.Disk(diskSize)
			s.wantErrno(s.load(p.dev, other), unix.EINVAL, nil)
			s.wantErrno(s.load(p.dev, s.line()), unix.EINVAL, nil)
		},
		"a running pool keeps its block size": func(s *suite) {
			p := s.newPool(8, nil)
			other := p.table
			other.Block *= 2
			s.must(s.swap(p.dev, other)) // accepted and ignored (dm-thin.c, __pool_find)
			s.same(p.dev, p.table)
			equal(s, "total", p.status().TotalData, 8)
		},
		"a pool is activated again": func(s *suite) {
			p := s.newPool(8, nil)
			dev := p.addThin(1, 8)
			p.fill(dev, 0, 3)
			s.must(p.message(p.dev, "set_transaction_id 0 5"))
			for _, d := range []blockdev.Number{dev, p.dev} {
				_, err := s.k.Remove(s.ctx, dm.ByDev(d), dm.RemoveOptions{})
				s.must(err)
			}
			double := p.table
			double.Block *= 2
			p.dev = s.create(s.name(), "").Dev
			s.wantErrno(s.load(p.dev, double), unix.EINVAL, nil)
			s.must(s.load(p.dev, p.table))
			s.must(s.resume(p.dev))
			equal(s, "transaction", p.status().TransactionID, 5)
			p.used(3)
			p.mapped(p.activateThin(1, 8), 3, 3)
		},
		"a volume grows": func(s *suite) {
			p := s.newPool(8, nil)
			dev := p.addThin(1, 2)
			long := dm.Thin{Length: blocks(6).Sectors(), Pool: p.dev, ID: 1}
			s.must(s.swap(dev, long))
			p.fill(dev, 5, 6)
			p.mapped(dev, 1, 6)
		},
		"changed features": func(s *suite) {
			p := s.newPool(8, nil)
			p.table.ErrorIfNoSpace, p.table.SkipBlockZeroing, p.table.LowWater = true, true, 3
			s.must(s.swap(p.dev, p.table))
			s.same(p.dev, p.table)
			equal(s, "policy", p.status().ErrorIfNoSpace, true)
			ignoring := p.table
			ignoring.IgnoreDiscard = true
			s.wantErrno(s.load(p.dev, ignoring), unix.EINVAL, nil)
		},
	}
}

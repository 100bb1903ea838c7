package dmtest

import (
	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/units"
)

// poolContract: a pool's own tables and sizes.
func poolContract() map[string]func(*bench) {
	return map[string]func(*bench){
		"a fresh pool": func(b *bench) {
			s := b.newPool(8, nil).status()
			equal(b, "status", s, dm.PoolStatus{
				TotalData: 8, UsedMetadata: s.UsedMetadata, TotalMetadata: uint64(diskSize / (4 * units.KiB)),
				Discard: s.Discard, MetadataLow: 512,
			})
			if s.UsedMetadata == 0 || s.UsedMetadata >= s.TotalMetadata/2 {
				b.Errorf("used metadata: %d of %d", s.UsedMetadata, s.TotalMetadata)
			}
		},
		"data grows": func(b *bench) {
			p := b.newPool(uint64(diskSize/poolBlock), nil)
			p.table.Length = (diskSize + blocks(16)).Sectors()
			b.Grow(p.table.Data, diskSize+blocks(16))
			b.must(b.swap(p.dev, p.table))
			equal(b, "total", p.status().TotalData, uint64(diskSize/poolBlock)+16)
		},
		"data does not shrink": func(b *bench) {
			p := b.newPool(8, nil)
			small := p.table
			small.Length = blocks(4).Sectors()
			b.refused(b.swap(p.dev, small), unix.EINVAL, nil)
			equal(b, "suspended", b.info(p.dev).Suspended, true)
			b.must(b.load(p.dev, p.table))
			b.must(b.resume(p.dev))
			equal(b, "total", p.status().TotalData, 8)
			p.addThin(1, 8)
		},
		"metadata grows at resume": func(b *bench) {
			p := b.newPool(8, nil)
			b.Grow(p.table.Metadata, 2*diskSize)
			equal(b, "total before", p.status().TotalMetadata, uint64(diskSize/(4*units.KiB)))
			b.suspend(p.dev)
			b.must(b.resume(p.dev))
			equal(b, "total after", p.status().TotalMetadata, uint64(2*diskSize/(4*units.KiB)))
		},
		"metadata of another pool": func(b *bench) {
			p := b.newPool(8, nil)
			thief := p.table
			thief.Data = b.Disk(diskSize)
			dev := b.create(b.name(), "").Dev
			b.refused(b.load(dev, thief), unix.EBUSY, fault.Busy)
		},
		"another pool in its place": func(b *bench) {
			p := b.newPool(8, nil)
			other := p.table
			other.Metadata, other.Data = b.Disk(diskSize), b.Disk(diskSize)
			b.refused(b.load(p.dev, other), unix.EINVAL, nil)
			b.refused(b.load(p.dev, b.line()), unix.EINVAL, nil)
		},
		"a running pool keeps its block size": func(b *bench) {
			p := b.newPool(8, nil)
			other := p.table
			other.Block *= 2
			b.must(b.swap(p.dev, other)) // accepted, and not looked at (dm-thin.c, __pool_find)
			b.same(p.dev, p.table)
			equal(b, "total", p.status().TotalData, 8)
		},
		"a pool comes back": func(b *bench) {
			p := b.newPool(8, nil)
			dev := p.addThin(1, 8)
			p.fill(dev, 0, 3)
			b.must(p.message(p.dev, "set_transaction_id 0 5"))
			for _, d := range []blockdev.Number{dev, p.dev} {
				_, err := b.k.Remove(b.ctx, dm.ByDev(d), dm.RemoveOptions{})
				b.must(err)
			}
			double := p.table
			double.Block *= 2
			p.dev = b.create(b.name(), "").Dev
			b.refused(b.load(p.dev, double), unix.EINVAL, nil)
			b.must(b.load(p.dev, p.table))
			b.must(b.resume(p.dev))
			equal(b, "transaction", p.status().TransactionID, 5)
			p.used(3)
			p.mapped(p.activateThin(1, 8), 3, 3)
		},
		"a volume grows": func(b *bench) {
			p := b.newPool(8, nil)
			dev := p.addThin(1, 2)
			long := dm.Thin{Length: blocks(6).Sectors(), Pool: p.dev, ID: 1}
			b.must(b.swap(dev, long))
			p.fill(dev, 5, 6)
			p.mapped(dev, 1, 6)
		},
		"changed features": func(b *bench) {
			p := b.newPool(8, nil)
			p.table.ErrorIfNoSpace, p.table.SkipBlockZeroing, p.table.LowWater = true, true, 3
			b.must(b.swap(p.dev, p.table))
			b.same(p.dev, p.table)
			equal(b, "policy", p.status().ErrorIfNoSpace, true)
			ignoring := p.table
			ignoring.IgnoreDiscard = true
			b.refused(b.load(p.dev, ignoring), unix.EINVAL, nil)
		},
	}
}

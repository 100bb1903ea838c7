package dmtest

import (
	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/units"
)

// Sizes of a test's pool.
const (
	poolBlock = dm.MinBlock
	diskSize  = 8 * units.MiB
)

func blocks(n uint64) units.Bytes { return units.Bytes(n) * poolBlock }

// testPool is a live pool and its table.
type testPool struct {
	*bench
	dev   blockdev.Number
	table dm.ThinPool
}

// newPool makes a live pool of so many data blocks, on disks that are larger.
func (b *bench) newPool(size uint64, change func(*dm.ThinPool)) *testPool {
	b.Helper()
	p := &testPool{bench: b, table: dm.ThinPool{
		Length:   blocks(size).Sectors(),
		Metadata: b.Disk(diskSize), Data: b.Disk(diskSize),
		Block: poolBlock.Sectors(),
	}}
	if change != nil {
		change(&p.table)
	}
	p.dev = b.activate(p.table)
	return p
}

// addThin makes a thin volume of so many blocks and activates it.
func (p *testPool) addThin(id uint32, size uint64) blockdev.Number {
	p.Helper()
	p.must(p.message(p.dev, "create_thin %d", id))
	return p.activateThin(id, size)
}

func (p *testPool) activateThin(id uint32, size uint64) blockdev.Number {
	p.Helper()
	return p.activate(dm.Thin{Length: blocks(size).Sectors(), Pool: p.dev, ID: id})
}

// fill writes blocks [from, to) of a volume, one by one.
func (p *testPool) fill(dev blockdev.Number, from, to uint64) {
	p.Helper()
	for n := from; n < to; n++ {
		p.must(p.Write(dev, blocks(n), poolBlock))
	}
}

// status commits, so that what was freed shows.
func (p *testPool) status() dm.PoolStatus {
	p.Helper()
	return p.statusWith(dm.StatusOptions{})
}

func (p *testPool) statusWith(options dm.StatusOptions) dm.PoolStatus {
	p.Helper()
	_, lines, err := p.k.Status(p.ctx, dm.ByDev(p.dev), options)
	p.must(err)
	if len(lines) != 1 {
		p.Fatalf("a pool's status has %d lines", len(lines))
	}
	s, err := dm.ParsePoolStatus(lines[0])
	p.must(err)
	return s
}

func (p *testPool) thinStatus(dev blockdev.Number) dm.ThinStatus {
	p.Helper()
	_, lines, err := p.k.Status(p.ctx, dm.ByDev(dev), dm.StatusOptions{NoFlush: true})
	p.must(err)
	if len(lines) != 1 {
		p.Fatalf("a thin volume's status has %d lines", len(lines))
	}
	s, err := dm.ParseThinStatus(lines[0])
	p.must(err)
	return s
}

// mapped checks a volume's mapped blocks and the highest of them.
func (p *testPool) mapped(dev blockdev.Number, count, end uint64) {
	p.Helper()
	s := p.thinStatus(dev)
	equal(p.bench, "mapped", s.Mapped, blocks(count).Sectors())
	if end > 0 {
		equal(p.bench, "highest", s.Highest, blocks(end).Sectors()-1)
	}
}

// used checks the pool's used data blocks.
func (p *testPool) used(want uint64) {
	p.Helper()
	equal(p.bench, "used data blocks", p.status().UsedData, want)
}

package dmtest

import (
	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/units"
)

// The sizes of a pool.
const (
	poolBlock = dm.MinBlock
	diskSize  = 8 * units.MiB
)

func blocks(n uint64) units.Bytes { return units.Bytes(n) * poolBlock }

// testPool is an active pool and its table.
type testPool struct {
	*suite
	dev   blockdev.Number
	table dm.ThinPool
}

// newPool activates a pool with this number of data blocks, on larger disks.
func (s *suite) newPool(size uint64, change func(*dm.ThinPool)) *testPool {
	s.Helper()
	p := &testPool{suite: s, table: dm.ThinPool{
		Length:   blocks(size).Sectors(),
		Metadata: s.Disk(diskSize), Data: s.Disk(diskSize),
		Block: poolBlock.Sectors(),
	}}
	if change != nil {
		change(&p.table)
	}
	p.dev = s.activate(p.table)
	return p
}

// addThin creates a thin volume with this number of blocks and activates it.
func (p *testPool) addThin(id uint32, size uint64) blockdev.Number {
	p.Helper()
	p.must(p.message(p.dev, "create_thin %d", id))
	return p.activateThin(id, size)
}

func (p *testPool) activateThin(id uint32, size uint64) blockdev.Number {
	p.Helper()
	return p.activate(dm.Thin{Length: blocks(size).Sectors(), Pool: p.dev, ID: id})
}

// fill writes the blocks [from, to) of a volume one after the other.
func (p *testPool) fill(dev blockdev.Number, from, to uint64) {
	p.Helper()
	for n := from; n < to; n++ {
		p.must(p.Write(dev, blocks(n), poolBlock))
	}
}

// status returns the status after a commit, so that freed blocks are counted as free.
func (p *testPool) status() dm.PoolStatus {
	p.Helper()
	return p.statusWith(dm.StatusOptions{})
}

func (p *testPool) statusWith(options dm.StatusOptions) dm.PoolStatus {
	p.Helper()
	_, lines, err := p.k.Status(p.ctx, dm.ByDev(p.dev), options)
	p.must(err)
	if len(lines) != 1 {
		p.Fatalf("lines of a pool's status: got %d, want 1", len(lines))
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
		p.Fatalf("lines of a thin volume's status: got %d, want 1", len(lines))
	}
	s, err := dm.ParseThinStatus(lines[0])
	p.must(err)
	return s
}

// mapped checks the number of a volume's mapped blocks, and their end unless it is 0.
func (p *testPool) mapped(dev blockdev.Number, count, end uint64) {
	p.Helper()
	got := p.thinStatus(dev)
	equal(p.suite, "mapped", got.Mapped, blocks(count).Sectors())
	if end > 0 {
		equal(p.suite, "highest", got.Highest, blocks(end).Sectors()-1)
	}
}

// used checks the pool's used data blocks.
func (p *testPool) used(want uint64) {
	p.Helper()
	equal(p.suite, "used data blocks", p.status().UsedData, want)
}

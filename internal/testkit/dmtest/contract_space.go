package dmtest

import (
	"context"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
)

func erring(p *dm.ThinPool) { p.ErrorIfNoSpace = true }

// spaceContract: running out of data space, and the ways back. Pools here
// refuse writes; a real kernel would hold those of a queueing pool for a minute.
func spaceContract() map[string]func(*bench) {
	return map[string]func(*bench){
		"full, then a volume is deleted": func(b *bench) {
			p := b.newPool(8, erring)
			equal(b, "policy", p.status().ErrorIfNoSpace, true)
			p.fill(p.addThin(1, 16), 0, 4)
			doomed := p.addThin(2, 16)
			p.fill(doomed, 0, 4)
			p.exhaust(doomed)
			b.must(p.message(p.dev, "create_thin 3")) // messages go on

			_, err := b.k.Remove(b.ctx, dm.ByDev(doomed), dm.RemoveOptions{})
			b.must(err)
			b.must(p.message(p.dev, "delete 2"))
			equal(b, "mode", p.status().Mode, dm.ModeWrite)
			p.used(4)
			p.fill(p.activateThin(3, 16), 0, 4)
		},
		"full, then it grows": func(b *bench) {
			p := b.newPool(8, erring)
			dev := p.addThin(1, 16)
			p.fill(dev, 0, 8)
			p.exhaust(dev)
			p.table.Length = blocks(12).Sectors()
			b.must(b.swap(p.dev, p.table))
			s := p.status()
			equal(b, "mode", s.Mode, dm.ModeWrite)
			equal(b, "total", s.TotalData, 12)
			equal(b, "used", s.UsedData, 8)
			p.fill(dev, 8, 12)
			p.exhaust(dev)
		},
		"full, then a discard": func(b *bench) {
			p := b.newPool(8, erring)
			dev := p.addThin(1, 16)
			p.fill(dev, 0, 8)
			p.exhaust(dev)
			b.must(b.Discard(dev, 0, blocks(2)))
			b.eventually("writing again", func() bool { return p.status().Mode == dm.ModeWrite })
			p.fill(dev, 8, 10)
		},
		"a full pool serves what is mapped": func(b *bench) {
			p := b.newPool(8, erring)
			dev := p.addThin(1, 16)
			p.fill(dev, 0, 8)
			p.exhaust(dev)
			p.fill(dev, 0, 8)
		},
		"low water": func(b *bench) {
			p := b.newPool(16, func(t *dm.ThinPool) { t.LowWater = 12 })
			dev := p.addThin(1, 16)
			before := b.info(p.dev).EventNr
			p.fill(dev, 0, 4)
			equal(b, "events while above the mark", b.info(p.dev).EventNr, before)
			p.fill(dev, 4, 5) // finds 12 free
			first := p.awaitEvent(before)
			p.fill(dev, 5, 8)
			equal(b, "events after the first", b.info(p.dev).EventNr, first)
			b.suspend(p.dev)
			b.must(b.resume(p.dev))
			equal(b, "events of a resume", b.info(p.dev).EventNr, first)
			p.fill(dev, 8, 9)
			p.awaitEvent(first)
		},
		"blocks freed in one transaction": func(b *bench) {
			p := b.newPool(8, erring)
			dev := p.addThin(1, 16)
			p.fill(dev, 0, 8)
			p.used(8)
			b.must(b.Discard(dev, 0, blocks(8)))
			p.used(0)
			p.fill(dev, 8, 16)
			p.used(8)
		},
	}
}

// exhaust writes to a block that is not mapped, with no block left.
func (p *testPool) exhaust(dev blockdev.Number) {
	p.Helper()
	before := p.info(p.dev).EventNr
	p.refused(p.Write(dev, blocks(15), poolBlock), unix.ENOSPC, nil)
	equal(p.bench, "mode", p.status().Mode, dm.ModeOutOfDataSpace)
	p.awaitEvent(before)
}

func (p *testPool) awaitEvent(seen uint32) uint32 {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, settling)
	defer cancel()
	now, err := p.k.WaitEvent(ctx, dm.ByDev(p.dev), seen)
	if err != nil {
		p.Fatalf("no event after %d: %v", seen, err)
	}
	return now
}

package dmtest

import (
	"thinctl/blockdev"
	"thinctl/dm"
)

// snapshotContract: sharing, and what breaks it.
func snapshotContract() map[string]func(*bench) {
	return map[string]func(*bench){
		"snapshot shares until written": func(b *bench) {
			p := b.newPool(16, nil)
			origin := p.addThin(1, 16)
			p.fill(origin, 0, 4)
			snap := p.snapshot(origin, 2, 1, 16)
			p.used(4)
			p.mapped(snap, 4, 4)

			p.fill(origin, 0, 1)
			p.used(5)
			p.fill(origin, 0, 1)
			p.used(5)
			// The snapshot's block counts as shared by its age, though it is alone with
			// it by now: the write moves it and frees the old one.
			p.fill(snap, 0, 1)
			p.used(5)
			p.fill(snap, 8, 9)
			p.used(6)
			p.mapped(snap, 5, 9)
			p.mapped(origin, 4, 4)

			_, err := b.k.Remove(b.ctx, dm.ByDev(snap), dm.RemoveOptions{})
			b.must(err)
			b.must(p.message(p.dev, "delete 2"))
			p.used(4)
			p.mapped(origin, 4, 4)
		},
		"snapshot of a snapshot": func(b *bench) {
			p := b.newPool(16, nil)
			origin := p.addThin(1, 16)
			p.fill(origin, 0, 2)
			first := p.snapshot(origin, 2, 1, 16)
			p.fill(first, 1, 3)
			second := p.snapshot(first, 3, 2, 16)
			p.mapped(second, 3, 3)
			p.used(4)
			p.fill(second, 0, 3)
			p.used(7)
		},
		"an inactive origin": func(b *bench) {
			p := b.newPool(16, nil)
			b.must(p.message(p.dev, "create_thin 1"))
			b.must(p.message(p.dev, "create_snap 2 1"))
			p.mapped(p.activateThin(2, 16), 0, 0)
		},
		"an origin deleted before its snapshot": func(b *bench) {
			p := b.newPool(16, nil)
			origin := p.addThin(1, 16)
			p.fill(origin, 0, 4)
			snap := p.snapshot(origin, 2, 1, 16)
			_, err := b.k.Remove(b.ctx, dm.ByDev(origin), dm.RemoveOptions{})
			b.must(err)
			b.must(p.message(p.dev, "delete 1"))
			p.used(4)
			p.mapped(snap, 4, 4)
		},
		"discard": func(b *bench) {
			p := b.newPool(16, nil)
			dev := p.addThin(1, 16)
			p.fill(dev, 0, 4)
			b.must(b.Discard(dev, 0, blocks(2)))
			p.mapped(dev, 2, 4)
			p.used(2)
			b.must(b.Discard(dev, blocks(2), poolBlock/2))
			p.mapped(dev, 2, 4)
			p.fill(dev, 0, 1)
			p.mapped(dev, 3, 4)
			p.used(3)
		},
		"discard of shared blocks": func(b *bench) {
			p := b.newPool(16, nil)
			origin := p.addThin(1, 16)
			p.fill(origin, 0, 4)
			snap := p.snapshot(origin, 2, 1, 16)
			b.must(b.Discard(origin, 0, blocks(4)))
			p.mapped(origin, 0, 0)
			p.mapped(snap, 4, 4)
			p.used(4)
			b.must(b.Discard(snap, blocks(1), blocks(3)))
			p.mapped(snap, 1, 1)
			p.used(1)
		},
	}
}

// snapshot takes one as callers must, with the origin suspended.
func (p *testPool) snapshot(from blockdev.Number, id, origin uint32, size uint64) blockdev.Number {
	p.Helper()
	p.suspend(from)
	err := p.message(p.dev, "create_snap %d %d", id, origin)
	p.must(p.resume(from))
	p.must(err)
	return p.activateThin(id, size)
}

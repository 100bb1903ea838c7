package dmtest

import (
	"thinctl/blockdev"
	"thinctl/dm"
)

// snapshotContract tests the sharing of blocks and its end.
func snapshotContract() map[string]func(*suite) {
	return map[string]func(*suite){
		"a snapshot shares blocks until a write": func(s *suite) {
			p := s.newPool(16, nil)
			origin := p.addThin(1, 16)
			p.fill(origin, 0, 4)
			snap := p.snapshot(origin, 2, 1, 16)
			p.used(4)
			p.mapped(snap, 4, 4)

			p.fill(origin, 0, 1)
			p.used(5)
			p.fill(origin, 0, 1)
			p.used(5)
			// By now only the snapshot has the block, but it counts as shared because of
			// its age: the write allocates a new block and frees the old one.
			p.fill(snap, 0, 1)
			p.used(5)
			p.fill(snap, 8, 9)
			p.used(6)
			p.mapped(snap, 5, 9)
			p.mapped(origin, 4, 4)

			_, err := s.k.Remove(s.ctx, dm.ByDev(snap), dm.RemoveOptions{})
			s.must(err)
			s.must(p.message(p.dev, "delete 2"))
			p.used(4)
			p.mapped(origin, 4, 4)
		},
		"snapshot of a snapshot": func(s *suite) {
			p := s.newPool(16, nil)
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
		"an inactive origin": func(s *suite) {
			p := s.newPool(16, nil)
			s.must(p.message(p.dev, "create_thin 1"))
			s.must(p.message(p.dev, "create_snap 2 1"))
			p.mapped(p.activateThin(2, 16), 0, 0)
		},
		"an origin deleted before its snapshot": func(s *suite) {
			p := s.newPool(16, nil)
			origin := p.addThin(1, 16)
			p.fill(origin, 0, 4)
			snap := p.snapshot(origin, 2, 1, 16)
			_, err := s.k.Remove(s.ctx, dm.ByDev(origin), dm.RemoveOptions{})
			s.must(err)
			s.must(p.message(p.dev, "delete 1"))
			p.used(4)
			p.mapped(snap, 4, 4)
		},
		"discard": func(s *suite) {
			p := s.newPool(16, nil)
			dev := p.addThin(1, 16)
			p.fill(dev, 0, 4)
			s.must(s.Discard(dev, 0, blocks(2)))
			p.mapped(dev, 2, 4)
			p.used(2)
			s.must(s.Discard(dev, blocks(2), poolBlock/2))
			p.mapped(dev, 2, 4)
			p.fill(dev, 0, 1)
			p.mapped(dev, 3, 4)
			p.used(3)
		},
		"discard of shared blocks": func(s *suite) {
			p := s.newPool(16, nil)
			origin := p.addThin(1, 16)
			p.fill(origin, 0, 4)
			snap := p.snapshot(origin, 2, 1, 16)
			s.must(s.Discard(origin, 0, blocks(4)))
			p.mapped(origin, 0, 0)
			p.mapped(snap, 4, 4)
			p.used(4)
			s.must(s.Discard(snap, blocks(1), blocks(3)))
			p.mapped(snap, 1, 1)
			p.used(1)
		},
	}
}

// snapshot creates a snapshot while the origin is suspended, as callers must.
func (p *testPool) snapshot(from blockdev.Number, id, origin uint32, size uint64) blockdev.Number {
	p.Helper()
	p.suspend(from)
	err := p.message(p.dev, "create_snap %d %d", id, origin)
	p.must(p.resume(from))
	p.must(err)
	return p.activateThin(id, size)
}

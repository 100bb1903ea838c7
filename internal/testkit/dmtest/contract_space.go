package dmtest

import (
	"context"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
)

func erring(p *dm.ThinPool) { p.ErrorIfNoSpace = true }

// spaceContract tests pools without data space, and how they get it back. Writes to
// these pools fail: in a real kernel those to a queueing pool would wait for a minute.
func spaceContract() map[string]func(*suite) {
	return map[string]func(*suite){
		"full, then a volume is deleted": func(s *suite) {
			p := s.newPool(8, erring)
			equal(s, "policy", p.status().ErrorIfNoSpace, true)
			p.fill(p.addThin(1, 16), 0, 4)
			doomed := p.addThin(2, 16)
			p.fill(doomed, 0, 4)
			p.exhaust(doomed)
			s.must(p.message(p.dev, "create_thin 3")) // messages still work

			_, err := s.k.Remove(s.ctx, dm.ByDev(doomed), dm.RemoveOptions{})
			s.must(err)
			s.must(p.message(p.dev, "delete 2"))
			equal(s, "mode", p.status().Mode, dm.ModeWrite)
			p.used(4)
			p.fill(p.activateThin(3, 16), 0, 4)
		},
		"full, then it grows": func(s *suite) {
			p := s.newPool(8, erring)
			dev := p.addThin(1, 16)
			p.fill(dev, 0, 8)
			p.exhaust(dev)
			p.table.Length = blocks(12).Sectors()
			s.must(s.swap(p.dev, p.table))
			got := p.status()
			equal(s, "mode", got.Mode, dm.ModeWrite)
			equal(s, "total", got.TotalData, 12)
			equal(s, "used", got.UsedData, 8)
			p.fill(dev, 8, 12)
			p.exhaust(dev)
		},
		"full, then a discard": func(s *suite) {
			p := s.newPool(8, erring)
			dev := p.addThin(1, 16)
			p.fill(dev, 0, 8)
			p.exhaust(dev)
			s.must(s.Discard(dev, 0, blocks(2)))
			s.eventually("write mode", func() bool { return p.status().Mode == dm.ModeWrite })
			p.fill(dev, 8, 10)
		},
		"a full pool accepts writes to mapped blocks": func(s *suite) {
			p := s.newPool(8, erring)
			dev := p.addThin(1, 16)
			p.fill(dev, 0, 8)
			p.exhaust(dev)
			p.fill(dev, 0, 8)
		},
		"low water": func(s *suite) {
			p := s.newPool(16, func(t *dm.ThinPool) { t.LowWater = 12 })
			dev := p.addThin(1, 16)
			before := s.info(p.dev).EventNr
			p.fill(dev, 0, 4)
			equal(s, "event number above the mark", s.info(p.dev).EventNr, before)
			p.fill(dev, 4, 5) // 12 blocks are free before this write
			first := p.awaitEvent(before)
			p.fill(dev, 5, 8)
			equal(s, "event number after the first event", s.info(p.dev).EventNr, first)
			s.suspend(p.dev)
			s.must(s.resume(p.dev))
			equal(s, "event number after a resume", s.info(p.dev).EventNr, first)
			p.fill(dev, 8, 9)
			p.awaitEvent(first)
		},
		"blocks freed in one transaction": func(s *suite) {
			p := s.newPool(8, erring)
			dev := p.addThin(1, 16)
			p.fill(dev, 0, 8)
			p.used(8)
			s.must(s.Discard(dev, 0, blocks(8)))
			p.used(0)
			p.fill(dev, 8, 16)
			p.used(8)
		},
	}
}

// exhaust writes to an unmapped block of a pool without free blocks.
func (p *testPool) exhaust(dev blockdev.Number) {
	p.Helper()
	before := p.info(p.dev).EventNr
	p.wantErrno(p.Write(dev, blocks(15), poolBlock), unix.ENOSPC, nil)
	equal(p.suite, "mode", p.status().Mode, dm.ModeOutOfDataSpace)
	p.awaitEvent(before)
}

func (p *testPool) awaitEvent(seen uint32) uint32 {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, eventTimeout)
	defer cancel()
	now, err := p.k.WaitEvent(ctx, dm.ByDev(p.dev), seen)
	if err != nil {
		p.Fatalf("wait for an event after %d: got %v, want nil", seen, err)
	}
	return now
}

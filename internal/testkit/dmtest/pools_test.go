package dmtest

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/units"
)

func TestQueueing(t *testing.T) {
	s, k := newSuite(t, Options{})
	p := s.newPool(4, nil)
	dev := p.addThin(1, 16)
	p.fill(dev, 0, 4)
	if err := k.Write(dev, blocks(4), 512); !errors.Is(err, ErrWouldBlock) {
		t.Errorf("write to a full pool that queues: got %v, want %v", err, ErrWouldBlock)
	}
	got := p.status()
	equal(s, "mode", got.Mode, dm.ModeOutOfDataSpace)
	equal(s, "policy", got.ErrorIfNoSpace, false)
	seen := s.info(p.dev).EventNr
	s.must(k.ExpireNoSpace(p.dev))
	p.awaitEvent(seen)
	equal(s, "policy at the timeout", p.status().ErrorIfNoSpace, true)
	s.wantErrno(k.Write(dev, blocks(4), 512), unix.ENOSPC, nil)
	p.table.Length = blocks(8).Sectors()
	s.must(s.swap(p.dev, p.table))
	equal(s, "policy after growth", p.status().ErrorIfNoSpace, false)
	s.must(k.Write(dev, blocks(4), 512))
}

func TestAboveASuspendedPool(t *testing.T) {
	s, k := newSuite(t, Options{})
	p := s.newPool(4, nil)
	dev := p.addThin(1, 16)
	s.suspend(p.dev)
	_, resumed := k.Resume(s.ctx, dm.ByDev(dev), dm.ResumeOptions{})
	for what, err := range map[string]error{
		"write": k.Write(dev, 0, 512), "suspend": k.Suspend(s.ctx, dm.ByDev(dev), dm.SuspendOptions{}), "resume": resumed,
	} {
		if !errors.Is(err, ErrWouldBlock) {
			t.Errorf("%s: got %v, want %v", what, err, ErrWouldBlock)
		}
	}
	s.must(s.resume(p.dev))
	s.must(k.Write(dev, 0, 512))
}

func TestNeedsCheckSkipsGrowth(t *testing.T) {
	s, k := newSuite(t, Options{})
	p := s.newPool(8, nil)
	dev := p.addThin(1, 8)
	p.fill(dev, 0, 2)
	p.status()
	p.fill(dev, 2, 3)
	seen := s.info(p.dev).EventNr
	s.must(k.FailMetadata(p.dev))
	p.awaitEvent(seen)
	got := p.status()
	equal(s, "mode", got.Mode, dm.ModeReadOnly)
	equal(s, "needs check", got.NeedsCheck, true)
	p.mapped(dev, 2, 2)
	s.wantErrno(p.message(p.dev, "create_thin 2"), unix.EOPNOTSUPP, fault.Unhealthy)
	s.wantErrno(k.Write(dev, blocks(7), 512), unix.EIO, nil)
	p.fill(dev, 0, 2)
	s.Grow(p.table.Metadata, 2*diskSize)
	p.table.Length = blocks(16).Sectors()
	s.must(s.swap(p.dev, p.table))
	got = p.status()
	equal(s, "data", got.TotalData, 8)
	equal(s, "metadata", got.TotalMetadata, uint64(diskSize/metadataBlock))
	equal(s, "mode", got.Mode, dm.ModeReadOnly)
}

func TestFailedPool(t *testing.T) {
	s, k := newSuite(t, Options{})
	p := s.newPool(8, nil)
	dev := p.addThin(1, 8)
	s.must(k.FailPool(p.dev))
	equal(s, "mode", p.status().Mode, dm.ModeFail)
	equal(s, "thin failed", p.thinStatus(dev).Failed, true)
	lines, err := k.Table(s.ctx, dm.ByDev(dev))
	s.must(err)
	equal(s, "thin's table", lines[0].Params, "Fail")
	s.wantErrno(k.Write(dev, 0, 512), unix.EIO, nil)
	s.wantErrno(p.message(p.dev, "create_thin 2"), unix.EOPNOTSUPP, fault.Unhealthy)
	other := s.create(s.name(), "").Dev
	s.wantErrno(s.load(other, dm.Thin{Length: oneMiB, Pool: p.dev, ID: 1}), unix.EINVAL, nil)
	s.must(s.swap(p.dev, p.table))
	equal(s, "mode after a reload", p.status().Mode, dm.ModeFail)
}

func TestMetadataRunsOut(t *testing.T) {
	for _, c := range []struct {
		version    dm.Version
		needsCheck bool
	}{{dm.Version{1, 23, 0}, false}, {dm.Version{1, 19, 0}, true}} {
		t.Run(c.version.String(), func(t *testing.T) {
			s, _ := newSuite(t, Options{TargetVersions: map[string]dm.Version{dm.TypeThinPool: c.version}})
			p := s.newPool(8, func(p *dm.ThinPool) { p.Metadata = s.Disk(256 * units.KiB) })
			before := s.info(p.dev).EventNr
			made, lowAt := 0, -1
			for id := range 64 {
				if p.message(p.dev, "create_thin %d", id) != nil {
					break
				}
				made++
				if lowAt < 0 && s.info(p.dev).EventNr != before {
					lowAt = made
				}
			}
			got := p.status()
			equal(s, "mode", got.Mode, dm.ModeReadOnly)
			equal(s, "needs check", got.NeedsCheck, c.needsCheck)
			if lowAt < 1 || lowAt >= made {
				t.Errorf("metadata event: got it with device %d, want it between 1 and %d", lowAt, made-1)
			}
			s.Grow(p.table.Metadata, diskSize)
			s.suspend(p.dev)
			s.must(s.resume(p.dev))
			got = p.status()
			equal(s, "write mode again", got.Mode == dm.ModeWrite, !c.needsCheck)
			equal(s, "grown", got.TotalMetadata == uint64(diskSize/metadataBlock), !c.needsCheck)
		})
	}
}

func TestCommits(t *testing.T) {
	s, k := newSuite(t, Options{})
	p := s.newPool(8, nil)
	for what, c := range map[string]struct {
		commits int
		do      func()
	}{
		"status":          {1, func() { p.status() }},
		"status, noflush": {0, func() { p.statusWith(dm.StatusOptions{NoFlush: true}) }},
		"table, info":     {0, func() { s.info(p.dev); s.same(p.dev, p.table) }},
		"message":         {1, func() { s.must(p.message(p.dev, "create_thin 1")) }},
		"failed message":  {0, func() { _ = p.message(p.dev, "delete 9") }},
		"suspend":         {1, func() { s.suspend(p.dev); s.must(s.resume(p.dev)) }},
	} {
		before := k.Commits()
		c.do()
		equal(s, what, k.Commits()-before, c.commits)
	}
}

func TestViolation(t *testing.T) {
	s, k := newSuite(t, Options{})
	p := s.newPool(8, nil)
	dev := p.addThin(1, 8)
	p.snapshot(dev, 2, 1, 8)
	s.suspend(p.dev)
	s.must(p.message(p.dev, "create_snap 3 1"))
	s.must(s.resume(p.dev))
	if v := k.Violations(); len(v) != 0 {
		t.Errorf("violations by correct calls: got %q, want none", v)
	}
	s.must(p.message(p.dev, "create_snap 4 1"))
	if v := k.Violations(); len(v) != 1 || !strings.Contains(v[0], "create_snap 4 1") {
		t.Errorf("violations: got %q, want one of create_snap 4 1", v)
	}
}

func TestOldStatuses(t *testing.T) {
	for _, c := range []struct {
		version dm.Version
		tokens  int
	}{{dm.Version{1, 8, 0}, 6}, {dm.Version{1, 14, 0}, 7}, {dm.Version{1, 15, 0}, 8}, {dm.Version{1, 22, 0}, 9}} {
		s, _ := newSuite(t, Options{TargetVersions: map[string]dm.Version{dm.TypeThinPool: c.version}})
		p := s.newPool(8, nil)
		_, lines, err := s.k.Status(s.ctx, dm.ByDev(p.dev), dm.StatusOptions{})
		s.must(err)
		equal(s, c.version.String(), len(strings.Fields(lines[0].Params)), c.tokens)
		equal(s, "total", p.status().TotalData, 8)
		erring := p.table
		erring.ErrorIfNoSpace = true
		if err := s.load(p.dev, erring); (err == nil) != c.version.AtLeast(1, 10) {
			t.Errorf("%s: error_if_no_space: got %v, want an error only before 1.10", c.version, err)
		}
	}
}

func TestNewBlocksAreZeroed(t *testing.T) {
	for _, skip := range []bool{false, true} {
		s, k := newSuite(t, Options{})
		p := s.newPool(4, func(p *dm.ThinPool) { p.SkipBlockZeroing, p.NoDiscardPassdown = skip, true })
		dev := p.addThin(1, 8)
		s.must(k.WriteStamp(dev, 0, 77))
		s.must(k.Discard(dev, 0, blocks(1)))
		p.status()
		var leaked bool
		for block := range uint64(4) {
			s.must(k.Write(dev, blocks(block)+4096, 512))
			got, err := k.ReadStamp(dev, block)
			s.must(err)
			leaked = leaked || got == 77
		}
		equal(s, "old content is visible", leaked, skip)
	}
}

func TestExternalOrigin(t *testing.T) {
	s, k := newSuite(t, Options{})
	origin := s.Disk(blocks(2))
	s.must(k.WriteStamp(origin, 0, 5))
	s.must(k.WriteStamp(origin, 1, 6))
	p := s.newPool(8, nil)
	s.must(p.message(p.dev, "create_thin 1"))
	dev := s.activate(dm.Thin{Length: blocks(4).Sectors(), Pool: p.dev, ID: 1, ExternalOrigin: origin})
	stamp(t, k, dev, 1, 6)
	stamp(t, k, dev, 3, 0)
	s.must(k.Write(dev, blocks(1)+4096, 512))
	stamp(t, k, dev, 1, 6)
	p.mapped(dev, 1, 2)
}

func TestDiskHeld(t *testing.T) {
	s, k := newSuite(t, Options{})
	p := s.newPool(4, nil)
	equal(s, "held", k.DiskHeld(p.table.Data), true)
	s.wantErrno(k.RemoveDisk(p.table.Data), unix.EBUSY, nil)
	_, err := k.Remove(s.ctx, dm.ByDev(p.dev), dm.RemoveOptions{})
	s.must(err)
	equal(s, "held", k.DiskHeld(p.table.Data), false)
	s.must(k.RemoveDisk(p.table.Data))
}

func TestFileDisk(t *testing.T) {
	path := t.TempDir() + "/disk"
	if err := writeSparse(path, diskSize); err != nil {
		t.Fatal(err)
	}
	disk, err := OpenFileDisk(path)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	k := New(Options{})
	p := attachPool(t, k, NewMemDisk(diskSize), disk, 32)
	p.must(p.message(p.dev, "create_thin 1"))
	dev := p.volume(1, 8)
	p.must(k.WriteStamp(dev, 2, 9))
	stamp(t, k, dev, 2, 9)
}

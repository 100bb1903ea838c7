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
	b, k := newBench(t, Options{})
	p := b.newPool(4, nil)
	dev := p.addThin(1, 16)
	p.fill(dev, 0, 4)
	if err := k.Write(dev, blocks(4), 512); !errors.Is(err, ErrWouldBlock) {
		t.Errorf("a write to a full pool that queues: %v", err)
	}
	s := p.status()
	equal(b, "mode", s.Mode, dm.ModeOutOfDataSpace)
	equal(b, "policy", s.ErrorIfNoSpace, false)
	seen := b.info(p.dev).EventNr
	b.must(k.ExpireNoSpace(p.dev))
	p.awaitEvent(seen)
	equal(b, "policy at the timeout", p.status().ErrorIfNoSpace, true)
	b.refused(k.Write(dev, blocks(4), 512), unix.ENOSPC, nil)
	p.table.Length = blocks(8).Sectors()
	b.must(b.swap(p.dev, p.table))
	equal(b, "policy after growth", p.status().ErrorIfNoSpace, false)
	b.must(k.Write(dev, blocks(4), 512))
}

func TestAboveASuspendedPool(t *testing.T) {
	b, k := newBench(t, Options{})
	p := b.newPool(4, nil)
	dev := p.addThin(1, 16)
	b.suspend(p.dev)
	_, resumed := k.Resume(b.ctx, dm.ByDev(dev), dm.ResumeOptions{})
	for what, err := range map[string]error{
		"write": k.Write(dev, 0, 512), "suspend": k.Suspend(b.ctx, dm.ByDev(dev), dm.SuspendOptions{}), "resume": resumed,
	} {
		if !errors.Is(err, ErrWouldBlock) {
			t.Errorf("%s: %v", what, err)
		}
	}
	b.must(b.resume(p.dev))
	b.must(k.Write(dev, 0, 512))
}

func TestNeedsCheckSkipsGrowth(t *testing.T) {
	b, k := newBench(t, Options{})
	p := b.newPool(8, nil)
	dev := p.addThin(1, 8)
	p.fill(dev, 0, 2)
	p.status()
	p.fill(dev, 2, 3)
	seen := b.info(p.dev).EventNr
	b.must(k.FailMetadata(p.dev))
	p.awaitEvent(seen)
	s := p.status()
	equal(b, "mode", s.Mode, dm.ModeReadOnly)
	equal(b, "needs check", s.NeedsCheck, true)
	p.mapped(dev, 2, 2)
	b.refused(p.message(p.dev, "create_thin 2"), unix.EOPNOTSUPP, fault.Unhealthy)
	b.refused(k.Write(dev, blocks(7), 512), unix.EIO, nil)
	p.fill(dev, 0, 2)
	b.Grow(p.table.Metadata, 2*diskSize)
	p.table.Length = blocks(16).Sectors()
	b.must(b.swap(p.dev, p.table))
	s = p.status()
	equal(b, "data", s.TotalData, 8)
	equal(b, "metadata", s.TotalMetadata, uint64(diskSize/metadataBlock))
	equal(b, "mode", s.Mode, dm.ModeReadOnly)
}

func TestFailedPool(t *testing.T) {
	b, k := newBench(t, Options{})
	p := b.newPool(8, nil)
	dev := p.addThin(1, 8)
	b.must(k.FailPool(p.dev))
	equal(b, "mode", p.status().Mode, dm.ModeFail)
	equal(b, "thin failed", p.thinStatus(dev).Failed, true)
	lines, err := k.Table(b.ctx, dm.ByDev(dev))
	b.must(err)
	equal(b, "thin's table", lines[0].Params, "Fail")
	b.refused(k.Write(dev, 0, 512), unix.EIO, nil)
	b.refused(p.message(p.dev, "create_thin 2"), unix.EOPNOTSUPP, fault.Unhealthy)
	other := b.create(b.name(), "").Dev
	b.refused(b.load(other, dm.Thin{Length: oneMiB, Pool: p.dev, ID: 1}), unix.EINVAL, nil)
	b.must(b.swap(p.dev, p.table))
	equal(b, "mode after a reload", p.status().Mode, dm.ModeFail)
}

func TestMetadataRunsOut(t *testing.T) {
	for _, c := range []struct {
		version    dm.Version
		needsCheck bool
	}{{dm.Version{1, 23, 0}, false}, {dm.Version{1, 19, 0}, true}} {
		t.Run(c.version.String(), func(t *testing.T) {
			b, _ := newBench(t, Options{TargetVersions: map[string]dm.Version{dm.TypeThinPool: c.version}})
			p := b.newPool(8, func(p *dm.ThinPool) { p.Metadata = b.Disk(256 * units.KiB) })
			before := b.info(p.dev).EventNr
			made, lowAt := 0, -1
			for id := range 64 {
				if p.message(p.dev, "create_thin %d", id) != nil {
					break
				}
				made++
				if lowAt < 0 && b.info(p.dev).EventNr != before {
					lowAt = made
				}
			}
			s := p.status()
			equal(b, "mode", s.Mode, dm.ModeReadOnly)
			equal(b, "needs check", s.NeedsCheck, c.needsCheck)
			if lowAt < 1 || lowAt >= made {
				t.Errorf("the metadata event came with device %d of %d", lowAt, made)
			}
			b.Grow(p.table.Metadata, diskSize)
			b.suspend(p.dev)
			b.must(b.resume(p.dev))
			s = p.status()
			equal(b, "writing again", s.Mode == dm.ModeWrite, !c.needsCheck)
			equal(b, "grown", s.TotalMetadata == uint64(diskSize/metadataBlock), !c.needsCheck)
		})
	}
}

func TestCommits(t *testing.T) {
	b, k := newBench(t, Options{})
	p := b.newPool(8, nil)
	for what, c := range map[string]struct {
		commits int
		do      func()
	}{
		"status":          {1, func() { p.status() }},
		"status, noflush": {0, func() { p.statusWith(dm.StatusOptions{NoFlush: true}) }},
		"table, info":     {0, func() { b.info(p.dev); b.same(p.dev, p.table) }},
		"message":         {1, func() { b.must(p.message(p.dev, "create_thin 1")) }},
		"refused message": {0, func() { _ = p.message(p.dev, "delete 9") }},
		"suspend":         {1, func() { b.suspend(p.dev); b.must(b.resume(p.dev)) }},
	} {
		before := k.Commits()
		c.do()
		equal(b, what, k.Commits()-before, c.commits)
	}
}

func TestViolation(t *testing.T) {
	b, k := newBench(t, Options{})
	p := b.newPool(8, nil)
	dev := p.addThin(1, 8)
	p.snapshot(dev, 2, 1, 8)
	b.suspend(p.dev)
	b.must(p.message(p.dev, "create_snap 3 1"))
	b.must(b.resume(p.dev))
	if v := k.Violations(); len(v) != 0 {
		t.Errorf("violations of the rightful: %q", v)
	}
	b.must(p.message(p.dev, "create_snap 4 1"))
	if v := k.Violations(); len(v) != 1 || !strings.Contains(v[0], "create_snap 4 1") {
		t.Errorf("violations: %q", v)
	}
}

func TestOldStatuses(t *testing.T) {
	for _, c := range []struct {
		version dm.Version
		tokens  int
	}{{dm.Version{1, 8, 0}, 6}, {dm.Version{1, 14, 0}, 7}, {dm.Version{1, 15, 0}, 8}, {dm.Version{1, 22, 0}, 9}} {
		b, _ := newBench(t, Options{TargetVersions: map[string]dm.Version{dm.TypeThinPool: c.version}})
		p := b.newPool(8, nil)
		_, lines, err := b.k.Status(b.ctx, dm.ByDev(p.dev), dm.StatusOptions{})
		b.must(err)
		equal(b, c.version.String(), len(strings.Fields(lines[0].Params)), c.tokens)
		equal(b, "total", p.status().TotalData, 8)
		erring := p.table
		erring.ErrorIfNoSpace = true
		if err := b.load(p.dev, erring); (err == nil) != c.version.AtLeast(1, 10) {
			t.Errorf("%s: error_if_no_space: %v", c.version, err)
		}
	}
}

func TestFreshBlocksAreZeroed(t *testing.T) {
	for _, skip := range []bool{false, true} {
		b, k := newBench(t, Options{})
		p := b.newPool(4, func(p *dm.ThinPool) { p.SkipBlockZeroing, p.NoDiscardPassdown = skip, true })
		dev := p.addThin(1, 8)
		b.must(k.WriteStamp(dev, 0, 77))
		b.must(k.Discard(dev, 0, blocks(1)))
		p.status()
		var leaked bool
		for block := range uint64(4) {
			b.must(k.Write(dev, blocks(block)+4096, 512))
			got, err := k.ReadStamp(dev, block)
			b.must(err)
			leaked = leaked || got == 77
		}
		equal(b, "old bytes show", leaked, skip)
	}
}

func TestExternalOrigin(t *testing.T) {
	b, k := newBench(t, Options{})
	origin := b.Disk(blocks(2))
	b.must(k.WriteStamp(origin, 0, 5))
	b.must(k.WriteStamp(origin, 1, 6))
	p := b.newPool(8, nil)
	b.must(p.message(p.dev, "create_thin 1"))
	dev := b.activate(dm.Thin{Length: blocks(4).Sectors(), Pool: p.dev, ID: 1, ExternalOrigin: origin})
	stamp(t, k, dev, 1, 6)
	stamp(t, k, dev, 3, 0)
	b.must(k.Write(dev, blocks(1)+4096, 512))
	stamp(t, k, dev, 1, 6)
	p.mapped(dev, 1, 2)
}

func TestDisksAreHeld(t *testing.T) {
	b, k := newBench(t, Options{})
	p := b.newPool(4, nil)
	equal(b, "held", k.DiskHeld(p.table.Data), true)
	b.refused(k.RemoveDisk(p.table.Data), unix.EBUSY, nil)
	_, err := k.Remove(b.ctx, dm.ByDev(p.dev), dm.RemoveOptions{})
	b.must(err)
	equal(b, "held", k.DiskHeld(p.table.Data), false)
	b.must(k.RemoveDisk(p.table.Data))
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

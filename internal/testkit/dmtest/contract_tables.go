package dmtest

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/units"
)

// unknownTarget is a target that no kernel has.
type unknownTarget struct{}

func (unknownTarget) Line() dm.Line { return dm.Line{Length: oneMiB, Type: "dmtest-none"} }

// rawLine is a table line with any parameters.
type rawLine dm.Line

func (l rawLine) Line() dm.Line { return dm.Line(l) }

// tableContract tests which tables can be loaded, and how the kernel prints them.
func tableContract() map[string]func(*suite) {
	return map[string]func(*suite){
		"linear and error read back": func(s *suite) {
			one, two := s.Disk(diskSize), s.Disk(diskSize)
			table := []dm.Target{
				dm.Linear{Length: oneMiB, Dev: one, Offset: 8},
				dm.Linear{Start: oneMiB, Length: oneMiB, Dev: two},
				dm.ErrorTarget{Start: 2 * oneMiB, Length: 8},
			}
			dev := s.activate(table...)
			s.same(dev, table...)
			deps, err := s.k.Deps(s.ctx, dm.ByDev(dev))
			s.must(err)
			equal(s, "uses both disks", len(deps) == 2 && slices.Contains(deps, one) && slices.Contains(deps, two), true)
			s.must(s.Write(dev, units.MiB, 4096))
			s.wantErrno(s.Write(dev, 2*units.MiB, 4096), unix.EIO, nil)
		},
		"flakey reads back": func(s *suite) {
			table := dm.Flakey{Length: oneMiB, Dev: s.Disk(diskSize), Up: 1, Down: 2, DropWrites: true}
			s.same(s.activate(table), table)
			table.DropWrites = false
			dev := s.activate(table)
			lines, err := s.k.Table(s.ctx, dm.ByDev(dev))
			s.must(err)
			// Without a feature all IO fails. 6.12 prints both error features then, 6.1
			// none, and both have target version 1.5.0.
			full := table
			full.ErrorReads, full.ErrorWrites = true, true
			if len(lines) != 1 || lines[0] != table.Line() && lines[0] != full.Line() {
				s.Errorf("table: got %v, want %v or %v", lines, table.Line(), full.Line())
			}
		},
		"pool and thin read back": func(s *suite) {
			for _, change := range []func(*dm.ThinPool){
				nil,
				func(p *dm.ThinPool) { p.LowWater, p.SkipBlockZeroing = 7, true },
				func(p *dm.ThinPool) { p.IgnoreDiscard, p.NoDiscardPassdown = true, true },
				func(p *dm.ThinPool) { p.Block, p.ErrorIfNoSpace = 3*poolBlock.Sectors(), true },
			} {
				p := s.newPool(24, change)
				s.same(p.dev, p.table)
				thin := dm.Thin{Length: oneMiB, Pool: p.dev, ID: dm.MaxThinID}
				s.must(p.message(p.dev, "create_thin %d", thin.ID))
				dev := s.activate(thin)
				s.same(dev, thin)
				deps, err := s.k.Deps(s.ctx, dm.ByDev(dev))
				s.must(err)
				equal(s, "thin volume uses its pool", slices.Equal(deps, []blockdev.Number{p.dev}), true)
				deps, err = s.k.Deps(s.ctx, dm.ByDev(p.dev))
				s.must(err)
				equal(s, "pool uses its disks",
					len(deps) == 2 && slices.Contains(deps, p.table.Data) && slices.Contains(deps, p.table.Metadata), true)
				equal(s, "data blocks", p.status().TotalData, uint64(p.table.Length/p.table.Block))
			}
		},
		"external origin reads back": func(s *suite) {
			p := s.newPool(8, nil)
			s.must(p.message(p.dev, "create_thin 1"))
			thin := dm.Thin{Length: oneMiB, Pool: p.dev, ID: 1, ExternalOrigin: s.Disk(diskSize)}
			s.same(s.activate(thin), thin)
		},
		"invalid tables": func(s *suite) {
			disk, other := s.Disk(diskSize), s.Disk(diskSize)
			pool := dm.ThinPool{Length: blocks(8).Sectors(), Metadata: disk, Data: other, Block: poolBlock.Sectors()}
			dev := s.create(s.name(), "").Dev
			// Each table gets a new device. 5.10 checks the sizes at a device's first load
			// only, even if that fails (drivers/md/dm-ioctl.c, table_load, sets the type first).
			try := func(why string, table ...dm.Target) {
				s.Helper()
				dev := s.create(s.name(), "").Dev
				defer func() { equal(s, "inactive table after a failed load, "+why, s.info(dev).InactiveTable, false) }()
				if err := s.load(dev, table...); !errors.Is(err, unix.EINVAL) {
					s.Errorf("%s: got %v, want EINVAL", why, err)
				}
			}
			with := func(change func(*dm.ThinPool)) dm.ThinPool {
				changed := pool
				change(&changed)
				return changed
			}
			if err := s.load(dev, unknownTarget{}); !errors.Is(err, dm.ErrNoTarget) {
				s.Errorf("unknown target: got %v, want %v", err, dm.ErrNoTarget)
			}
			missing := blockdev.Number{Major: 60, Minor: 77}
			err := s.load(dev, dm.Linear{Length: 8, Dev: missing})
			if !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.ENODEV) {
				s.Errorf("missing disk: got %v, want ENXIO or ENODEV", err)
			}
			try("gap", dm.ErrorTarget{Length: 8}, dm.ErrorTarget{Start: 16, Length: 8})
			try("late start", dm.ErrorTarget{Start: 8, Length: 8})
			try("no length", dm.ErrorTarget{})
			// In 6.1 a device has no disk before its first table, hence ENXIO.
			if err := s.load(dev, dm.Linear{Length: 8, Dev: dev}); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENXIO) {
				s.Errorf("table that uses its own device: got %v, want EINVAL or ENXIO", err)
			}
			try("beyond the disk", dm.Linear{Length: diskSize.Sectors(), Dev: disk, Offset: 8})
			try("block too small", with(func(p *dm.ThinPool) { p.Block /= 2 }))
			try("block not a multiple", with(func(p *dm.ThinPool) { p.Block += 8 }))
			try("block too large", with(func(p *dm.ThinPool) { p.Block = dm.MaxBlock.Sectors() + p.Block }))
			try("data is metadata", with(func(p *dm.ThinPool) { p.Data = p.Metadata }))
			try("five features", with(func(p *dm.ThinPool) {
				p.SkipBlockZeroing, p.IgnoreDiscard, p.NoDiscardPassdown = true, true, true
				p.ReadOnly, p.ErrorIfNoSpace = true, true
			}))
			line := pool.Line()
			line.Params = strings.TrimSuffix(line.Params, "0") + "1 dmtest_feature"
			try("unknown feature", rawLine(line))
			try("not alone", pool, dm.ErrorTarget{Start: pool.Length, Length: 8})
			try("beyond the data disk", with(func(p *dm.ThinPool) { p.Length = (diskSize + poolBlock).Sectors() }))
			equal(s, "inactive table after failed loads", s.info(dev).InactiveTable, false)
		},
		"a table that does not fit": func(s *suite) {
			table := s.line()
			dev := s.activate(table)
			long := table
			long.Length = diskSize.Sectors() + 8
			s.must(s.load(dev, long)) // Resume checks the size
			s.wantErrno(s.resume(dev), unix.EINVAL, nil)
			equal(s, "suspended", s.info(dev).Suspended, true)
			equal(s, "inactive table", s.info(dev).InactiveTable, false)
			s.must(s.resume(dev))
			s.same(dev, table)
		},
		"invalid tables of thin volumes": func(s *suite) {
			p := s.newPool(8, nil)
			s.must(p.message(p.dev, "create_thin 1"))
			plain := s.activate(s.line())
			dev := s.create(s.name(), "").Dev
			thin := dm.Thin{Length: oneMiB, Pool: p.dev, ID: 1}

			thin.ID = 2
			s.wantErrno(s.load(dev, thin), unix.ENODATA, dm.ErrNoThinDevice)
			thin.ID = dm.MaxThinID + 1
			s.wantErrno(s.load(dev, thin), unix.EINVAL, nil)
			thin.ID = 1
			thin.Pool = plain
			s.wantErrno(s.load(dev, thin), unix.EINVAL, nil)
			thin.Pool = p.dev

			s.suspend(p.dev)
			s.wantErrno(s.load(dev, thin), unix.EINVAL, nil)
			s.must(s.resume(p.dev))
			s.must(s.load(dev, thin))
			s.must(s.resume(dev))
			s.activate(thin) // a second device may use the same id

			_, err := s.k.Remove(s.ctx, dm.ByDev(p.dev), dm.RemoveOptions{})
			s.wantErrno(err, unix.EBUSY, fault.Busy)
		},
	}
}

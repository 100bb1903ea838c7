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

// rawLine is a table line as it stands.
type rawLine dm.Line

func (l rawLine) Line() dm.Line { return dm.Line(l) }

// tableContract: what is loaded, what is refused, what is read back.
func tableContract() map[string]func(*bench) {
	return map[string]func(*bench){
		"linear and error read back": func(b *bench) {
			one, two := b.Disk(diskSize), b.Disk(diskSize)
			table := []dm.Target{
				dm.Linear{Length: oneMiB, Dev: one, Offset: 8},
				dm.Linear{Start: oneMiB, Length: oneMiB, Dev: two},
				dm.ErrorTarget{Start: 2 * oneMiB, Length: 8},
			}
			dev := b.activate(table...)
			b.same(dev, table...)
			deps, err := b.k.Deps(b.ctx, dm.ByDev(dev))
			b.must(err)
			equal(b, "stands on both disks", len(deps) == 2 && slices.Contains(deps, one) && slices.Contains(deps, two), true)
			b.must(b.Write(dev, units.MiB, 4096))
			b.refused(b.Write(dev, 2*units.MiB, 4096), unix.EIO, nil)
		},
		"flakey reads back": func(b *bench) {
			table := dm.Flakey{Length: oneMiB, Dev: b.Disk(diskSize), Up: 1, Down: 2, DropWrites: true}
			b.same(b.activate(table), table)
			table.DropWrites = false
			dev := b.activate(table)
			lines, err := b.k.Table(b.ctx, dm.ByDev(dev))
			b.must(err)
			// No feature is all of them: 6.12 prints that, 6.1 prints what it was
			// given, and both are target 1.5.0.
			full := table
			full.ErrorReads, full.ErrorWrites = true, true
			if len(lines) != 1 || lines[0] != table.Line() && lines[0] != full.Line() {
				b.Errorf("table: got %v, want %v or %v", lines, table.Line(), full.Line())
			}
		},
		"pool and thin read back": func(b *bench) {
			for _, change := range []func(*dm.ThinPool){
				nil,
				func(p *dm.ThinPool) { p.LowWater, p.SkipBlockZeroing = 7, true },
				func(p *dm.ThinPool) { p.IgnoreDiscard, p.NoDiscardPassdown = true, true },
				func(p *dm.ThinPool) { p.Block, p.ErrorIfNoSpace = 3*poolBlock.Sectors(), true },
			} {
				p := b.newPool(24, change)
				b.same(p.dev, p.table)
				thin := dm.Thin{Length: oneMiB, Pool: p.dev, ID: dm.MaxThinID}
				b.must(p.message(p.dev, "create_thin %d", thin.ID))
				dev := b.activate(thin)
				b.same(dev, thin)
				deps, err := b.k.Deps(b.ctx, dm.ByDev(dev))
				b.must(err)
				equal(b, "thin stands on its pool", slices.Equal(deps, []blockdev.Number{p.dev}), true)
				deps, err = b.k.Deps(b.ctx, dm.ByDev(p.dev))
				b.must(err)
				equal(b, "pool stands on its disks",
					len(deps) == 2 && slices.Contains(deps, p.table.Data) && slices.Contains(deps, p.table.Metadata), true)
				equal(b, "data blocks", p.status().TotalData, uint64(p.table.Length/p.table.Block))
			}
		},
		"external origin reads back": func(b *bench) {
			p := b.newPool(8, nil)
			b.must(p.message(p.dev, "create_thin 1"))
			thin := dm.Thin{Length: oneMiB, Pool: p.dev, ID: 1, ExternalOrigin: b.Disk(diskSize)}
			b.same(b.activate(thin), thin)
		},
		"refused loads": func(b *bench) {
			disk, other := b.Disk(diskSize), b.Disk(diskSize)
			pool := dm.ThinPool{Length: blocks(8).Sectors(), Metadata: disk, Data: other, Block: poolBlock.Sectors()}
			dev := b.create(b.name(), "").Dev
			// A new device for each table: 5.10 measures only a device's first load, even
			// if it refuses it (drivers/md/dm-ioctl.c, table_load, sets the type first).
			try := func(why string, table ...dm.Target) {
				b.Helper()
				dev := b.create(b.name(), "").Dev
				defer func() { equal(b, "a refused load leaves a table, "+why, b.info(dev).InactiveTable, false) }()
				if err := b.load(dev, table...); !errors.Is(err, unix.EINVAL) {
					b.Errorf("%s: %v, want EINVAL", why, err)
				}
			}
			with := func(change func(*dm.ThinPool)) dm.ThinPool {
				changed := pool
				change(&changed)
				return changed
			}
			if err := b.load(dev, unknownTarget{}); !errors.Is(err, dm.ErrNoTarget) {
				b.Errorf("unknown target: %v", err)
			}
			missing := blockdev.Number{Major: 60, Minor: 77}
			if err := b.load(dev, dm.Linear{Length: 8, Dev: missing}); !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.ENODEV) {
				b.Errorf("a disk that is not there: %v", err)
			}
			try("gap", dm.ErrorTarget{Length: 8}, dm.ErrorTarget{Start: 16, Length: 8})
			try("late start", dm.ErrorTarget{Start: 8, Length: 8})
			try("no length", dm.ErrorTarget{})
			// 6.1 has no disk for a device without a table yet, hence ENXIO.
			if err := b.load(dev, dm.Linear{Length: 8, Dev: dev}); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENXIO) {
				b.Errorf("loading a table over itself: got %v, want EINVAL or ENXIO", err)
			}
			try("beyond the disk", dm.Linear{Length: diskSize.Sectors(), Dev: disk, Offset: 8})
			try("block too small", with(func(p *dm.ThinPool) { p.Block /= 2 }))
			try("block not a multiple", with(func(p *dm.ThinPool) { p.Block += 8 }))
			try("block too large", with(func(p *dm.ThinPool) { p.Block = dm.MaxBlock.Sectors() + p.Block }))
			try("data is metadata", with(func(p *dm.ThinPool) { p.Data = p.Metadata }))
			try("five features", with(func(p *dm.ThinPool) {
				p.SkipBlockZeroing, p.IgnoreDiscard, p.NoDiscardPassdown, p.ReadOnly, p.ErrorIfNoSpace = true, true, true, true, true
			}))
			line := pool.Line()
			line.Params = strings.TrimSuffix(line.Params, "0") + "1 dmtest_feature"
			try("unknown feature", rawLine(line))
			try("not alone", pool, dm.ErrorTarget{Start: pool.Length, Length: 8})
			try("beyond the data disk", with(func(p *dm.ThinPool) { p.Length = (diskSize + poolBlock).Sectors() }))
			equal(b, "a refused load leaves a table", b.info(dev).InactiveTable, false)
		},
		"a table that no longer fits": func(b *bench) {
			table := b.line()
			dev := b.activate(table)
			long := table
			long.Length = diskSize.Sectors() + 8
			b.must(b.load(dev, long)) // measured when swapped in
			b.refused(b.resume(dev), unix.EINVAL, nil)
			equal(b, "suspended", b.info(dev).Suspended, true)
			equal(b, "inactive table", b.info(dev).InactiveTable, false)
			b.must(b.resume(dev))
			b.same(dev, table)
		},
		"thin loads refused": func(b *bench) {
			p := b.newPool(8, nil)
			b.must(p.message(p.dev, "create_thin 1"))
			plain := b.activate(b.line())
			dev := b.create(b.name(), "").Dev
			thin := dm.Thin{Length: oneMiB, Pool: p.dev, ID: 1}

			thin.ID = 2
			b.refused(b.load(dev, thin), unix.ENODATA, dm.ErrNoThinDevice)
			thin.ID = dm.MaxThinID + 1
			b.refused(b.load(dev, thin), unix.EINVAL, nil)
			thin.ID = 1
			thin.Pool = plain
			b.refused(b.load(dev, thin), unix.EINVAL, nil)
			thin.Pool = p.dev

			b.suspend(p.dev)
			b.refused(b.load(dev, thin), unix.EINVAL, nil)
			b.must(b.resume(p.dev))
			b.must(b.load(dev, thin))
			b.must(b.resume(dev))
			b.activate(thin) // twice is allowed

			_, err := b.k.Remove(b.ctx, dm.ByDev(p.dev), dm.RemoveOptions{})
			b.refused(err, unix.EBUSY, fault.Busy)
		},
	}
}

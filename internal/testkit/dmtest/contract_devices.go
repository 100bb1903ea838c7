package dmtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/units"
)

const oneMiB = units.Sectors(units.MiB / units.SectorSize)

func (b *bench) line() dm.Linear { return dm.Linear{Length: oneMiB, Dev: b.Disk(diskSize)} }

// deviceContract: devices by name, uuid and number, and their state.
func deviceContract() map[string]func(*bench) {
	return map[string]func(*bench){
		"versions": func(b *bench) {
			v, err := b.k.Version(b.ctx)
			b.must(err)
			equal(b, "protocol", v[0], 4)
			pool, err := b.k.TargetVersion(b.ctx, dm.TypeThinPool)
			b.must(err)
			all, err := b.k.Targets(b.ctx)
			b.must(err)
			if !slices.Contains(all, dm.TargetVersion{Name: dm.TypeThinPool, Version: pool}) {
				b.Errorf("thin-pool %s is not among the targets %v", pool, all)
			}
			if _, err := b.k.TargetVersion(b.ctx, "dmtest-none"); !errors.Is(err, dm.ErrNoTarget) {
				b.Errorf("a target that is not there: %v", err)
			}
		},
		"slots": func(b *bench) {
			dev := b.create(b.name(), "").Dev
			check := func(when string, active, inactive, suspended bool) {
				b.Helper()
				i := b.info(dev)
				equal(b, when, [3]bool{i.ActiveTable, i.InactiveTable, i.Suspended}, [3]bool{active, inactive, suspended})
			}
			check("created", false, false, false)
			b.must(b.resume(dev))
			check("resumed without a table", false, false, false)
			b.same(dev)
			line := b.line()
			b.must(b.load(dev, line))
			check("loaded", false, true, false)
			b.must(b.resume(dev))
			check("resumed", true, false, false)
			equal(b, "targets", b.info(dev).TargetCount, 1)
			b.must(b.load(dev, line))
			check("loaded again", true, true, false)
			b.must(b.k.Clear(b.ctx, dm.ByDev(dev)))
			check("cleared", true, false, false)
			b.suspend(dev)
			b.suspend(dev)
			check("suspended", true, false, true)
			b.must(b.resume(dev))
			b.must(b.resume(dev))
			check("resumed at last", true, false, false)
		},
		"read-only": func(b *bench) {
			dev := b.create(b.name(), "").Dev
			b.must(b.k.Load(b.ctx, dm.ByDev(dev), []dm.Target{b.line()}, dm.LoadOptions{ReadOnly: true}))
			b.must(b.resume(dev))
			equal(b, "read-only", b.info(dev).ReadOnly, true)
		},
		"references": func(b *bench) {
			name, uuid := b.name(), dm.UUID("DMTEST-"+b.prefix)
			made := b.create(name, uuid)
			for _, ref := range []dm.Ref{dm.ByName(name), dm.ByUUID(uuid), dm.ByDev(made.Dev)} {
				got, err := b.k.Info(b.ctx, ref)
				b.must(err)
				equal(b, ref.String(), dm.Entry{Name: got.Name, UUID: got.UUID, Dev: got.Dev},
					dm.Entry{Name: name, UUID: uuid, Dev: made.Dev})
			}
			entries, err := b.k.List(b.ctx)
			b.must(err)
			if !slices.Contains(entries, dm.Entry{Name: name, UUID: uuid, Dev: made.Dev}) {
				b.Errorf("the list lacks %s: %v", name, entries)
			}
		},
		"names": func(b *bench) {
			long := b.prefix + "-"
			for _, text := range []string{
				b.prefix + " with spaces", b.prefix + "-größe-漢字", b.prefix + `\x41"'`,
				long + strings.Repeat("n", 127-len(long)),
			} {
				name, err := dm.NewName(text)
				b.must(err)
				uuid, err := dm.NewUUID("DMTEST " + text)
				if err != nil {
					uuid = ""
				}
				made := b.create(name, uuid)
				equal(b, "name", made.Name, name)
				equal(b, "uuid", b.info(made.Dev).UUID, uuid)
				entries, err := b.k.List(b.ctx)
				b.must(err)
				if !slices.Contains(entries, dm.Entry{Name: name, UUID: uuid, Dev: made.Dev}) {
					b.Errorf("the list lacks %q", text)
				}
			}
			head := "DMTEST-" + b.prefix
			uuid, err := dm.NewUUID(head + strings.Repeat("u", 128-len(head)))
			b.must(err)
			equal(b, "longest uuid", b.create(b.name(), uuid).UUID, uuid)
		},
		"duplicates": func(b *bench) {
			name, uuid := b.name(), dm.UUID("DMTEST-"+b.prefix)
			b.create(name, uuid)
			_, err := b.k.Create(b.ctx, name, "")
			b.refused(err, unix.EBUSY, fault.Exists)
			_, err = b.k.Create(b.ctx, b.name(), uuid)
			b.refused(err, unix.EBUSY, fault.Exists)
		},
		"not found": func(b *bench) {
			ref := dm.ByName(b.name())
			_, err := b.k.Info(b.ctx, ref)
			b.refused(err, unix.ENXIO, fault.NotFound)
			_, err = b.k.Remove(b.ctx, ref, dm.RemoveOptions{})
			b.refused(err, unix.ENXIO, fault.NotFound)
			b.refused(b.k.Rename(b.ctx, ref, b.name()), unix.ENXIO, fault.NotFound)
			b.refused(b.k.Load(b.ctx, ref, []dm.Target{b.line()}, dm.LoadOptions{}), unix.ENXIO, fault.NotFound)
			b.refused(b.k.Clear(b.ctx, ref), unix.ENXIO, fault.NotFound)
			b.refused(b.k.Suspend(b.ctx, ref, dm.SuspendOptions{}), unix.ENXIO, fault.NotFound)
			_, err = b.k.Resume(b.ctx, ref, dm.ResumeOptions{})
			b.refused(err, unix.ENXIO, fault.NotFound)
			_, err = b.k.Table(b.ctx, ref)
			b.refused(err, unix.ENXIO, fault.NotFound)
			_, _, err = b.k.Status(b.ctx, ref, dm.StatusOptions{})
			b.refused(err, unix.ENXIO, fault.NotFound)
			_, err = b.k.Deps(b.ctx, ref)
			b.refused(err, unix.ENXIO, fault.NotFound)
			_, err = b.k.Message(b.ctx, ref, "delete 1")
			b.refused(err, unix.ENXIO, fault.NotFound)
			_, err = b.k.WaitEvent(b.ctx, ref, 0)
			b.refused(err, unix.ENXIO, fault.NotFound)
		},
		"rename": func(b *bench) {
			dev := b.activate(b.line())
			before := b.info(dev)
			taken, fresh := b.create(b.name(), "").Name, b.name()
			b.refused(b.k.Rename(b.ctx, dm.ByDev(dev), taken), unix.EBUSY, fault.Exists)
			b.must(b.k.Rename(b.ctx, dm.ByDev(dev), fresh))
			_, err := b.k.Info(b.ctx, dm.ByName(before.Name))
			b.refused(err, unix.ENXIO, fault.NotFound)
			after, err := b.k.Info(b.ctx, dm.ByName(fresh))
			b.must(err)
			equal(b, "number", after.Dev, dev)
			if after.EventNr == before.EventNr {
				b.Error("renaming a live device raised no event")
			}
		},
		"remove": func(b *bench) {
			dev := b.activate(b.line())
			release, err := b.Hold(dev)
			b.must(err)
			b.Cleanup(release)
			if n := b.info(dev).OpenCount; n < 1 {
				b.Errorf("held, but the open count is %d", n)
			}
			_, err = b.k.Remove(b.ctx, dm.ByDev(dev), dm.RemoveOptions{})
			b.refused(err, unix.EBUSY, fault.Busy)
			deferred, err := b.k.Remove(b.ctx, dm.ByDev(dev), dm.RemoveOptions{Deferred: true})
			b.must(err)
			equal(b, "deferred", deferred, true)
			equal(b, "marked", b.info(dev).DeferredRemove, true)
			release()
			b.eventually("removal at the last close", func() bool {
				_, err := b.k.Info(b.ctx, dm.ByDev(dev))
				return errors.Is(err, fault.NotFound)
			})
			other := b.activate(b.line())
			b.eventually("nobody has it open", func() bool { return b.info(other).OpenCount == 0 })
			deferred, err = b.k.Remove(b.ctx, dm.ByDev(other), dm.RemoveOptions{Deferred: true})
			b.must(err)
			equal(b, "deferred though free", deferred, false)
		},
		"holders": func(b *bench) {
			below := b.activate(b.line())
			above := b.create(b.name(), "").Dev
			b.must(b.load(above, dm.Linear{Length: oneMiB, Dev: below}))
			_, err := b.k.Remove(b.ctx, dm.ByDev(below), dm.RemoveOptions{})
			b.refused(err, unix.EBUSY, fault.Busy)
			b.must(b.k.Clear(b.ctx, dm.ByDev(above)))
			b.eventually("removal once nothing stands on it", func() bool {
				_, err := b.k.Remove(b.ctx, dm.ByDev(below), dm.RemoveOptions{})
				return err == nil
			})
		},
		"waiting": func(b *bench) {
			dev := b.activate(b.line())
			seen := b.info(dev).EventNr
			ctx, cancel := context.WithTimeout(b.ctx, 50*time.Millisecond)
			defer cancel()
			if _, err := b.k.WaitEvent(ctx, dm.ByDev(dev), seen); !errors.Is(err, context.DeadlineExceeded) {
				b.Errorf("waiting for nothing: %v", err)
			}
			now, err := b.k.WaitEvent(b.ctx, dm.ByDev(dev), seen+1)
			b.must(err)
			equal(b, "event", now, seen)

			type answer struct {
				event uint32
				err   error
			}
			answered := make(chan answer, 1)
			go func() {
				event, err := b.k.WaitEvent(b.ctx, dm.ByDev(dev), seen)
				answered <- answer{event, err}
			}()
			b.must(b.k.Rename(b.ctx, dm.ByDev(dev), b.name()))
			a := <-answered
			b.must(a.err)
			equal(b, "event of the rename", a.event, b.info(dev).EventNr)
		},
	}
}

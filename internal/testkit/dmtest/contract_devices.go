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

func (s *suite) line() dm.Linear { return dm.Linear{Length: oneMiB, Dev: s.Disk(diskSize)} }

// deviceContract tests devices by name, uuid and number, and their state.
func deviceContract() map[string]func(*suite) {
	return map[string]func(*suite){
		"versions": func(s *suite) {
			v, err := s.k.Version(s.ctx)
			s.must(err)
			equal(s, "protocol", v[0], 4)
			pool, err := s.k.TargetVersion(s.ctx, dm.TypeThinPool)
			s.must(err)
			all, err := s.k.Targets(s.ctx)
			s.must(err)
			if !slices.Contains(all, dm.TargetVersion{Name: dm.TypeThinPool, Version: pool}) {
				s.Errorf("targets: got %v, want thin-pool %s among them", all, pool)
			}
			if _, err := s.k.TargetVersion(s.ctx, "dmtest-none"); !errors.Is(err, dm.ErrNoTarget) {
				s.Errorf("version of a missing target: got %v, want %v", err, dm.ErrNoTarget)
			}
		},
		"slots": func(s *suite) {
			dev := s.create(s.name(), "").Dev
			check := func(when string, active, inactive, suspended bool) {
				s.Helper()
				i := s.info(dev)
				equal(s, when, [3]bool{i.ActiveTable, i.InactiveTable, i.Suspended}, [3]bool{active, inactive, suspended})
			}
			check("created", false, false, false)
			s.must(s.resume(dev))
			check("resumed without a table", false, false, false)
			s.same(dev)
			line := s.line()
			s.must(s.load(dev, line))
			check("loaded", false, true, false)
			s.must(s.resume(dev))
			check("resumed", true, false, false)
			equal(s, "targets", s.info(dev).TargetCount, 1)
			s.must(s.load(dev, line))
			check("loaded again", true, true, false)
			s.must(s.k.Clear(s.ctx, dm.ByDev(dev)))
			check("cleared", true, false, false)
			s.suspend(dev)
			s.suspend(dev)
			check("suspended", true, false, true)
			s.must(s.resume(dev))
			s.must(s.resume(dev))
			check("resumed twice", true, false, false)
		},
		"read-only": func(s *suite) {
			dev := s.create(s.name(), "").Dev
			s.must(s.k.Load(s.ctx, dm.ByDev(dev), []dm.Target{s.line()}, dm.LoadOptions{ReadOnly: true}))
			s.must(s.resume(dev))
			equal(s, "read-only", s.info(dev).ReadOnly, true)
		},
		"references": func(s *suite) {
			name, uuid := s.name(), dm.UUID("DMTEST-"+s.prefix)
			made := s.create(name, uuid)
			for _, ref := range []dm.Ref{dm.ByName(name), dm.ByUUID(uuid), dm.ByDev(made.Dev)} {
				got, err := s.k.Info(s.ctx, ref)
				s.must(err)
				equal(s, ref.String(), dm.Entry{Name: got.Name, UUID: got.UUID, Dev: got.Dev},
					dm.Entry{Name: name, UUID: uuid, Dev: made.Dev})
			}
			entries, err := s.k.List(s.ctx)
			s.must(err)
			if !slices.Contains(entries, dm.Entry{Name: name, UUID: uuid, Dev: made.Dev}) {
				s.Errorf("list: got %v, want %s in it", entries, name)
			}
		},
		"names": func(s *suite) {
			long := s.prefix + "-"
			for _, text := range []string{
				s.prefix + " with spaces", s.prefix + "-größe-漢字", s.prefix + `\x41"'`,
				long + strings.Repeat("n", 127-len(long)),
			} {
				name, err := dm.NewName(text)
				s.must(err)
				uuid, err := dm.NewUUID("DMTEST " + text)
				if err != nil {
					uuid = ""
				}
				made := s.create(name, uuid)
				equal(s, "name", made.Name, name)
				equal(s, "uuid", s.info(made.Dev).UUID, uuid)
				entries, err := s.k.List(s.ctx)
				s.must(err)
				if !slices.Contains(entries, dm.Entry{Name: name, UUID: uuid, Dev: made.Dev}) {
					s.Errorf("list: got %v, want %q in it", entries, text)
				}
			}
			head := "DMTEST-" + s.prefix
			uuid, err := dm.NewUUID(head + strings.Repeat("u", 128-len(head)))
			s.must(err)
			equal(s, "longest uuid", s.create(s.name(), uuid).UUID, uuid)
		},
		"duplicates": func(s *suite) {
			name, uuid := s.name(), dm.UUID("DMTEST-"+s.prefix)
			s.create(name, uuid)
			_, err := s.k.Create(s.ctx, name, "")
			s.wantErrno(err, unix.EBUSY, fault.Exists)
			_, err = s.k.Create(s.ctx, s.name(), uuid)
			s.wantErrno(err, unix.EBUSY, fault.Exists)
		},
		"not found": func(s *suite) {
			ref := dm.ByName(s.name())
			_, err := s.k.Info(s.ctx, ref)
			s.wantErrno(err, unix.ENXIO, fault.NotFound)
			_, err = s.k.Remove(s.ctx, ref, dm.RemoveOptions{})
			s.wantErrno(err, unix.ENXIO, fault.NotFound)
			s.wantErrno(s.k.Rename(s.ctx, ref, s.name()), unix.ENXIO, fault.NotFound)
			s.wantErrno(s.k.Load(s.ctx, ref, []dm.Target{s.line()}, dm.LoadOptions{}), unix.ENXIO, fault.NotFound)
			s.wantErrno(s.k.Clear(s.ctx, ref), unix.ENXIO, fault.NotFound)
			s.wantErrno(s.k.Suspend(s.ctx, ref, dm.SuspendOptions{}), unix.ENXIO, fault.NotFound)
			_, err = s.k.Resume(s.ctx, ref, dm.ResumeOptions{})
			s.wantErrno(err, unix.ENXIO, fault.NotFound)
			_, err = s.k.Table(s.ctx, ref)
			s.wantErrno(err, unix.ENXIO, fault.NotFound)
			_, _, err = s.k.Status(s.ctx, ref, dm.StatusOptions{})
			s.wantErrno(err, unix.ENXIO, fault.NotFound)
			_, err = s.k.Deps(s.ctx, ref)
			s.wantErrno(err, unix.ENXIO, fault.NotFound)
			_, err = s.k.Message(s.ctx, ref, "delete 1")
			s.wantErrno(err, unix.ENXIO, fault.NotFound)
			_, err = s.k.WaitEvent(s.ctx, ref, 0)
			s.wantErrno(err, unix.ENXIO, fault.NotFound)
		},
		"rename": func(s *suite) {
			dev := s.activate(s.line())
			before := s.info(dev)
			taken, fresh := s.create(s.name(), "").Name, s.name()
			s.wantErrno(s.k.Rename(s.ctx, dm.ByDev(dev), taken), unix.EBUSY, fault.Exists)
			s.must(s.k.Rename(s.ctx, dm.ByDev(dev), fresh))
			_, err := s.k.Info(s.ctx, dm.ByName(before.Name))
			s.wantErrno(err, unix.ENXIO, fault.NotFound)
			after, err := s.k.Info(s.ctx, dm.ByName(fresh))
			s.must(err)
			equal(s, "number", after.Dev, dev)
			if after.EventNr == before.EventNr {
				s.Errorf("event number after the rename of a live device: got %d, want another", after.EventNr)
			}
		},
		"remove": func(s *suite) {
			dev := s.activate(s.line())
			release, err := s.Hold(dev)
			s.must(err)
			s.Cleanup(release)
			if n := s.info(dev).OpenCount; n < 1 {
				s.Errorf("open count of a held device: got %d, want at least 1", n)
			}
			_, err = s.k.Remove(s.ctx, dm.ByDev(dev), dm.RemoveOptions{})
			s.wantErrno(err, unix.EBUSY, fault.Busy)
			deferred, err := s.k.Remove(s.ctx, dm.ByDev(dev), dm.RemoveOptions{Deferred: true})
			s.must(err)
			equal(s, "deferred", deferred, true)
			equal(s, "deferred in the info", s.info(dev).DeferredRemove, true)
			release()
			s.eventually("removal at the last close", func() bool {
				_, err := s.k.Info(s.ctx, dm.ByDev(dev))
				return errors.Is(err, fault.NotFound)
			})
			other := s.activate(s.line())
			s.eventually("last close", func() bool { return s.info(other).OpenCount == 0 })
			deferred, err = s.k.Remove(s.ctx, dm.ByDev(other), dm.RemoveOptions{Deferred: true})
			s.must(err)
			equal(s, "deferred for a closed device", deferred, false)
		},
		"device in another table": func(s *suite) {
			below := s.activate(s.line())
			above := s.create(s.name(), "").Dev
			s.must(s.load(above, dm.Linear{Length: oneMiB, Dev: below}))
			_, err := s.k.Remove(s.ctx, dm.ByDev(below), dm.RemoveOptions{})
			s.wantErrno(err, unix.EBUSY, fault.Busy)
			s.must(s.k.Clear(s.ctx, dm.ByDev(above)))
			s.eventually("removal after the clear", func() bool {
				_, err := s.k.Remove(s.ctx, dm.ByDev(below), dm.RemoveOptions{})
				return err == nil
			})
		},
		"waiting": func(s *suite) {
			dev := s.activate(s.line())
			seen := s.info(dev).EventNr
			ctx, cancel := context.WithTimeout(s.ctx, 50*time.Millisecond)
			defer cancel()
			if _, err := s.k.WaitEvent(ctx, dm.ByDev(dev), seen); !errors.Is(err, context.DeadlineExceeded) {
				s.Errorf("wait without an event: got %v, want %v", err, context.DeadlineExceeded)
			}
			now, err := s.k.WaitEvent(s.ctx, dm.ByDev(dev), seen+1)
			s.must(err)
			equal(s, "event", now, seen)

			type answer struct {
				event uint32
				err   error
			}
			answered := make(chan answer, 1)
			go func() {
				event, err := s.k.WaitEvent(s.ctx, dm.ByDev(dev), seen)
				answered <- answer{event, err}
			}()
			s.must(s.k.Rename(s.ctx, dm.ByDev(dev), s.name()))
			a := <-answered
			s.must(a.err)
			equal(s, "event of the rename", a.event, s.info(dev).EventNr)
		},
	}
}

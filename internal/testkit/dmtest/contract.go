package dmtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/units"
)

// Fixture is a kernel for [Contract], with block devices and processes that use them.
// All methods but Kernel may fail the test.
type Fixture interface {
	Kernel() dm.Kernel
	// Disk returns a block device of zeros, which exists until the end of the test.
	Disk(size units.Bytes) blockdev.Number
	// Grow makes a device from Disk larger.
	Grow(dev blockdev.Number, size units.Bytes)
	// Write writes length bytes of any content, without a cache. An error wraps the
	// errno.
	Write(dev blockdev.Number, offset, length units.Bytes) error
	// Discard discards a range.
	Discard(dev blockdev.Number, offset, length units.Bytes) error
	// Hold keeps a device open until release is called.
	Hold(dev blockdev.Number) (release func(), err error)
}

// Contract is the suite of tests that every [dm.Kernel] passes. It checks the behaviour
// of the kernels 6.1 to 6.12. It calls newFixture once for each test.
func Contract(t *testing.T, newFixture func(t *testing.T) Fixture) {
	for _, group := range []map[string]func(*suite){
		deviceContract(), tableContract(), messageContract(), snapshotContract(), spaceContract(), poolContract(),
	} {
		for _, name := range slices.Sorted(maps.Keys(group)) {
			t.Run(name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
				t.Cleanup(cancel)
				fixture := newFixture(t)
				group[name](&suite{T: t, Fixture: fixture, k: fixture.Kernel(), ctx: ctx, prefix: "dmtest-" + rand.Text()[:8]})
			})
		}
	}
}

const (
	// testTimeout limits a test. The real kernel may run on an emulated CPU.
	testTimeout = 90 * time.Second
	// eventTimeout limits the wait for asynchronous work of the kernel and udev.
	eventTimeout = 15 * time.Second
)

// suite is the state of one test: its fixture and the names of its devices.
type suite struct {
	*testing.T
	Fixture
	k      dm.Kernel
	ctx    context.Context
	prefix string
	made   int
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// wantErrno checks that an error has the errno, and the kind unless it is nil.
func (s *suite) wantErrno(err error, errno unix.Errno, kind error) {
	s.Helper()
	switch {
	case err == nil:
		s.Errorf("got nil, want %s", unix.ErrnoName(errno))
	case !errors.Is(err, errno):
		s.Errorf("got %q, want %s", err, unix.ErrnoName(errno))
	case kind != nil && !errors.Is(err, kind):
		s.Errorf("got %q, want kind %q", err, kind)
	}
}

func equal[T comparable](s *suite, what string, got, want T) {
	s.Helper()
	if got != want {
		s.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// eventually waits until done returns true.
func (s *suite) eventually(what string, done func() bool) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, eventTimeout)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			s.Fatalf("%s: not done within %s", what, eventTimeout)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *suite) name() dm.Name {
	s.made++
	return dm.Name(fmt.Sprintf("%s-%d", s.prefix, s.made))
}

// create creates a device and removes it at the end of the test.
func (s *suite) create(name dm.Name, uuid dm.UUID) dm.Info {
	s.Helper()
	info, err := s.k.Create(s.ctx, name, uuid)
	s.must(err)
	s.Cleanup(func() { s.remove(info.Dev) })
	return info
}

// remove removes a device at the end of a test, if it still exists. It tries again
// while a scanner of udev has the device open.
func (s *suite) remove(dev blockdev.Number) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), eventTimeout)
	defer cancel()
	for {
		_, err := s.k.Remove(ctx, dm.ByDev(dev), dm.RemoveOptions{})
		switch {
		case err == nil || errors.Is(err, fault.NotFound):
			return
		case !errors.Is(err, fault.Busy) || ctx.Err() != nil:
			s.Errorf("remove %s at the end: got %v, want nil", dev, err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *suite) load(dev blockdev.Number, table ...dm.Target) error {
	return s.k.Load(s.ctx, dm.ByDev(dev), table, dm.LoadOptions{})
}

func (s *suite) resume(dev blockdev.Number) error {
	_, err := s.k.Resume(s.ctx, dm.ByDev(dev), dm.ResumeOptions{Private: true})
	return err
}

func (s *suite) suspend(dev blockdev.Number) {
	s.Helper()
	s.must(s.k.Suspend(s.ctx, dm.ByDev(dev), dm.SuspendOptions{}))
}

// activate creates a device with a live table.
func (s *suite) activate(table ...dm.Target) blockdev.Number {
	s.Helper()
	dev := s.create(s.name(), "").Dev
	s.must(s.load(dev, table...))
	s.must(s.resume(dev))
	return dev
}

// swap loads a table into an active device and makes it live.
func (s *suite) swap(dev blockdev.Number, table ...dm.Target) error {
	s.Helper()
	s.must(s.load(dev, table...))
	s.suspend(dev)
	return s.resume(dev)
}

func (s *suite) info(dev blockdev.Number) dm.Info {
	s.Helper()
	info, err := s.k.Info(s.ctx, dm.ByDev(dev))
	s.must(err)
	return info
}

func (s *suite) message(dev blockdev.Number, format string, args ...any) error {
	_, err := s.k.Message(s.ctx, dm.ByDev(dev), fmt.Sprintf(format, args...))
	return err
}

// same checks that the kernel prints the live table as it was loaded.
func (s *suite) same(dev blockdev.Number, table ...dm.Target) {
	s.Helper()
	lines, err := s.k.Table(s.ctx, dm.ByDev(dev))
	s.must(err)
	equal(s, "lines", len(lines), len(table))
	for i := range min(len(lines), len(table)) {
		equal(s, "table", lines[i], table[i].Line())
	}
}

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

// Rig is a kernel and the block devices and users around it, for [Contract].
// All methods but Kernel may fail the test.
type Rig interface {
	Kernel() dm.Kernel
	// Disk returns a block device of zeros, which lives until the test's end.
	Disk(size units.Bytes) blockdev.Number
	// Grow makes a device from Disk larger.
	Grow(dev blockdev.Number, size units.Bytes)
	// Write writes length bytes, past all caches; what, is left to the rig.
	// Errors answer to errors.Is with the errno.
	Write(dev blockdev.Number, offset, length units.Bytes) error
	// Discard discards a range.
	Discard(dev blockdev.Number, offset, length units.Bytes) error
	// Hold opens a device until release is called.
	Hold(dev blockdev.Number) (release func(), err error)
}

// Contract is the suite that every [dm.Kernel] passes: it asserts what kernels
// 6.1 to 6.12 do. newRig is called once for each test.
func Contract(t *testing.T, newRig func(t *testing.T) Rig) {
	for _, group := range []map[string]func(*bench){
		deviceContract(), tableContract(), messageContract(), snapshotContract(), spaceContract(), poolContract(),
	} {
		for _, name := range slices.Sorted(maps.Keys(group)) {
			t.Run(name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				t.Cleanup(cancel)
				rig := newRig(t)
				group[name](&bench{T: t, Rig: rig, k: rig.Kernel(), ctx: ctx, prefix: "dmtest-" + rand.Text()[:8]})
			})
		}
	}
}

const (
	// patience bounds a test: the real kernel may run on an emulated CPU.
	patience = 90 * time.Second
	// settling bounds the wait for what the kernel or udev does by itself.
	settling = 15 * time.Second
)

// bench is one test's rig, and the names it uses.
type bench struct {
	*testing.T
	Rig
	k      dm.Kernel
	ctx    context.Context
	prefix string
	made   int
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// refused checks that an error has the errno, and the kind where one is given.
func (b *bench) refused(err error, errno unix.Errno, kind error) {
	b.Helper()
	switch {
	case err == nil:
		b.Errorf("succeeded, want %s", unix.ErrnoName(errno))
	case !errors.Is(err, errno):
		b.Errorf("got %q, want %s", err, unix.ErrnoName(errno))
	case kind != nil && !errors.Is(err, kind):
		b.Errorf("got %q, want kind %q", err, kind)
	}
}

func equal[T comparable](b *bench, what string, got, want T) {
	b.Helper()
	if got != want {
		b.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// eventually waits for what happens by itself.
func (b *bench) eventually(what string, done func() bool) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, settling)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			b.Fatalf("%s: not within %s", what, settling)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (b *bench) name() dm.Name {
	b.made++
	return dm.Name(fmt.Sprintf("%s-%d", b.prefix, b.made))
}

// create makes a device that the test's end removes.
func (b *bench) create(name dm.Name, uuid dm.UUID) dm.Info {
	b.Helper()
	info, err := b.k.Create(b.ctx, name, uuid)
	b.must(err)
	b.Cleanup(func() { b.remove(info.Dev) })
	return info
}

// remove takes a device away at a test's end. It may be gone already; a
// scanner may have it open for a moment.
func (b *bench) remove(dev blockdev.Number) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), settling)
	defer cancel()
	for {
		_, err := b.k.Remove(ctx, dm.ByDev(dev), dm.RemoveOptions{})
		switch {
		case err == nil || errors.Is(err, fault.NotFound):
			return
		case !errors.Is(err, fault.Busy) || ctx.Err() != nil:
			b.Errorf("removing %s at the end: %v", dev, err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (b *bench) load(dev blockdev.Number, table ...dm.Target) error {
	return b.k.Load(b.ctx, dm.ByDev(dev), table, dm.LoadOptions{})
}

func (b *bench) resume(dev blockdev.Number) error {
	_, err := b.k.Resume(b.ctx, dm.ByDev(dev), dm.ResumeOptions{Private: true})
	return err
}

func (b *bench) suspend(dev blockdev.Number) {
	b.Helper()
	b.must(b.k.Suspend(b.ctx, dm.ByDev(dev), dm.SuspendOptions{}))
}

// activate makes a device with a live table.
func (b *bench) activate(table ...dm.Target) blockdev.Number {
	b.Helper()
	dev := b.create(b.name(), "").Dev
	b.must(b.load(dev, table...))
	b.must(b.resume(dev))
	return dev
}

// swap loads a table into a running device and makes it live.
func (b *bench) swap(dev blockdev.Number, table ...dm.Target) error {
	b.Helper()
	b.must(b.load(dev, table...))
	b.suspend(dev)
	return b.resume(dev)
}

func (b *bench) info(dev blockdev.Number) dm.Info {
	b.Helper()
	info, err := b.k.Info(b.ctx, dm.ByDev(dev))
	b.must(err)
	return info
}

func (b *bench) message(dev blockdev.Number, format string, args ...any) error {
	_, err := b.k.Message(b.ctx, dm.ByDev(dev), fmt.Sprintf(format, args...))
	return err
}

// same checks that the live table reads back as it was loaded.
func (b *bench) same(dev blockdev.Number, table ...dm.Target) {
	b.Helper()
	lines, err := b.k.Table(b.ctx, dm.ByDev(dev))
	b.must(err)
	equal(b, "lines", len(lines), len(table))
	for i := range min(len(lines), len(table)) {
		equal(b, "table", lines[i], table[i].Line())
	}
}

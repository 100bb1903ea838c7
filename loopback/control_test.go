package loopback_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/internal/testkit/looptest"
	"thinctl/internal/testkit/need"
	"thinctl/loopback"
	"thinctl/units"
)

func TestContract(t *testing.T) {
	for name, o := range map[string]loopback.Options{
		"configure": {Timeout: 2 * time.Second},
		"legacy":    {Timeout: 2 * time.Second, Legacy: true},
	} {
		t.Run(name, func(t *testing.T) {
			need.Loops(t)
			looptest.Contract(t, func(t *testing.T) looptest.Fixture {
				dir, o := tempDir(t), o
				o.LockFile = filepath.Join(dir, "lock")
				c := loopback.New(o)
				t.Cleanup(func() { c.Close() })
				return looptest.Fixture{Loops: c, Dir: dir, Claim: claim}
			})
		})
	}
}

// claim opens the device exclusively, as a mount or a device mapper table does.
func claim(t *testing.T, d loopback.Device) func() {
	return open(t, d, os.O_RDONLY|unix.O_EXCL)
}

func open(t *testing.T, d loopback.Device, flags int) func() {
	t.Helper()
	f, err := os.OpenFile(d.Path, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	return func() { f.Close() }
}

func TestDataPassesThrough(t *testing.T) {
	need.Loops(t)
	dir := tempDir(t)
	c := loopback.New(loopback.Options{})
	for name, o := range map[string]loopback.AttachOptions{"direct": {}, "buffered": {Buffered: true}} {
		path := makeFile(t, dir, name, units.MiB)
		d := attach(t, c, path, o)
		t.Logf("%s: %+v", name, d)
		block := bytes.Repeat([]byte(name), 1024)[:4096]
		f, err := os.OpenFile(d.Path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(block, 8192)
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			t.Error(err)
		}
		detach(t, c, d)
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got[8192:8192+4096], block) {
			t.Errorf("%s: file: got %v and other data, want the data that was written to the device", name, err)
		}
	}
}

// On a file system without direct IO the device is buffered, and DirectIO is false.
func TestNoDirectIO(t *testing.T) {
	need.Loops(t)
	dir := mount(t, "ramfs", "")
	for _, legacy := range []bool{false, true} {
		c := loopback.New(loopback.Options{Legacy: legacy, LockFile: filepath.Join(t.TempDir(), "lock")})
		path := filepath.Join(dir, "file")
		makeFile(t, dir, "file", units.MiB)
		d := attach(t, c, path, loopback.AttachOptions{})
		info, err := c.Info(t.Context(), d)
		if err != nil || d.DirectIO || info.DirectIO {
			t.Errorf("device on ramfs: got %+v, %+v, %v, want no direct IO", d, info, err)
		}
		detach(t, c, d)
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

func mount(t *testing.T, fstype, data string) string {
	t.Helper()
	dir := tempDir(t)
	if err := unix.Mount("none", dir, fstype, 0, data); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFoundThroughBindMount(t *testing.T) {
	need.Loops(t)
	dir, other := tempDir(t), t.TempDir()
	c := loopback.New(loopback.Options{})
	d := attach(t, c, makeFile(t, dir, "file", units.MiB), loopback.AttachOptions{})
	defer detach(t, c, d)
	if err := unix.Mount(dir, other, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(other, 0)
	got, err := c.Find(t.Context(), filepath.Join(other, "file"))
	if err != nil || len(got) != 1 || got[0].Path != d.Path {
		t.Errorf("found through the bind mount: got %+v, %v, want %s", got, err, d.Path)
	}
}

// LOOP_CLR_FD of a device with a reader succeeds, and detaches at the last close.
func TestDetachWithReader(t *testing.T) {
	need.Loops(t)
	c := loopback.New(loopback.Options{})
	path := makeFile(t, tempDir(t), "file", units.MiB)
	d := attach(t, c, path, loopback.AttachOptions{})
	release := open(t, d, os.O_RDONLY)
	err := c.Detach(within(t, 200*time.Millisecond), d)
	if !errors.Is(err, fault.Busy) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("detach while the device is open: got %v, want %v and %v", err, fault.Busy, context.DeadlineExceeded)
	}
	t.Log(err)
	info, err := c.Info(t.Context(), d)
	if err != nil || info.Autoclear {
		t.Errorf("info after a failed Detach: got %+v, %v, want no autoclear", info, err)
	}
	release()
	if _, err := c.Info(t.Context(), d); err != nil {
		t.Errorf("info after the reader's close: got %v, want nil", err)
	}

	release = open(t, d, os.O_RDONLY)
	time.AfterFunc(100*time.Millisecond, release)
	if err := c.Detach(t.Context(), d); err != nil {
		t.Errorf("detach after the reader's close: got %v, want nil", err)
	}
}

// Another program can attach the file with parameters that Reuse does not accept.
func TestReuseOfOtherParameters(t *testing.T) {
	need.Loops(t)
	c := loopback.New(loopback.Options{})
	path := makeFile(t, tempDir(t), "file", units.MiB)
	d := attach(t, c, path, loopback.AttachOptions{})
	defer detach(t, c, d)
	for name, change := range map[string]func(*unix.LoopInfo64){
		"offset":     func(st *unix.LoopInfo64) { st.Offset = 4096 },
		"size limit": func(st *unix.LoopInfo64) { st.Sizelimit = 8192 },
	} {
		was := alter(t, d, change)
		_, err := c.Attach(t.Context(), path, loopback.AttachOptions{Reuse: true})
		if !errors.Is(err, loopback.ErrAttached) {
			t.Errorf("%s: got %v, want %v", name, err, loopback.ErrAttached)
		}
		t.Log(err)
		alter(t, d, func(st *unix.LoopInfo64) { *st = was })
	}

	second := attachRaw(t, path)
	defer detach(t, c, second)
	_, err := c.Attach(t.Context(), path, loopback.AttachOptions{Reuse: true})
	if !errors.Is(err, loopback.ErrAttached) {
		t.Errorf("attach of a file with two devices: got %v, want %v", err, loopback.ErrAttached)
	}
	t.Log(err)
	got, err := c.Find(t.Context(), path)
	if err != nil || len(got) != 2 {
		t.Errorf("found: got %v, %v, want two devices", got, err)
	}
}

func alter(t *testing.T, d loopback.Device, change func(*unix.LoopInfo64)) (was unix.LoopInfo64) {
	t.Helper()
	f, err := os.OpenFile(d.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	was = *st
	change(st)
	if err := unix.IoctlLoopSetStatus64(int(f.Fd()), st); err != nil {
		t.Fatal(err)
	}
	return was
}

func TestAutoclearEndsWithClose(t *testing.T) {
	need.Loops(t)
	c := loopback.New(loopback.Options{})
	path := makeFile(t, tempDir(t), "file", units.MiB)
	d := attach(t, c, path, loopback.AttachOptions{Autoclear: true})
	release := open(t, d, os.O_RDONLY)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Info(t.Context(), d); err != nil {
		t.Errorf("info while the device is open: got %v, want nil", err)
	}
	release()
	got, err := c.Find(t.Context(), path)
	if err != nil || len(got) != 0 {
		t.Errorf("found after the last close: got %v, %v, want none", got, err)
	}
}

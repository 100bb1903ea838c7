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
			looptest.Contract(t, func(t *testing.T) looptest.Env {
				dir, o := tempDir(t), o
				o.LockFile = filepath.Join(dir, "lock")
				c := loopback.New(o)
				t.Cleanup(func() { c.Close() })
				return looptest.Env{Loops: c, Dir: dir, Claim: claim}
			})
		})
	}
}

// claim opens the device as a mount or a device-mapper table does.
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
			t.Errorf("%s: the file does not have what the device was given (%v)", name, err)
		}
	}
}

// A file system without direct IO: the attachment is buffered and says so.
func TestDirectIORefused(t *testing.T) {
	need.Loops(t)
	dir := mount(t, "ramfs", "")
	for _, legacy := range []bool{false, true} {
		c := loopback.New(loopback.Options{Legacy: legacy, LockFile: filepath.Join(t.TempDir(), "lock")})
		path := filepath.Join(dir, "file")
		makeFile(t, dir, "file", units.MiB)
		d := attach(t, c, path, loopback.AttachOptions{})
		info, err := c.Info(t.Context(), d)
		if err != nil || d.DirectIO || info.DirectIO {
			t.Errorf("direct IO on ramfs: %+v, %+v, %v", d, info, err)
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
		t.Errorf("found %+v, %v", got, err)
	}
}

// A reader without a claim: LOOP_CLR_FD answers 0 and defers.
func TestDetachWithReader(t *testing.T) {
	need.Loops(t)
	c := loopback.New(loopback.Options{})
	path := makeFile(t, tempDir(t), "file", units.MiB)
	d := attach(t, c, path, loopback.AttachOptions{})
	release := open(t, d, os.O_RDONLY)
	err := c.Detach(within(t, 200*time.Millisecond), d)
	if !errors.Is(err, loopback.ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("detached under a reader: %v", err)
	}
	t.Log(err)
	info, err := c.Info(t.Context(), d)
	if err != nil || info.Autoclear {
		t.Errorf("the Detach that failed left %+v, %v", info, err)
	}
	release()
	if _, err := c.Info(t.Context(), d); err != nil {
		t.Errorf("gone at the reader's close: %v", err)
	}

	release = open(t, d, os.O_RDONLY)
	time.AfterFunc(100*time.Millisecond, release)
	if err := c.Detach(t.Context(), d); err != nil {
		t.Errorf("the reader left, but: %v", err)
	}
}

// What losetup can make of our file, and Attach must not touch.
func TestReuseRefusesOthersParameters(t *testing.T) {
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
			t.Errorf("%s: %v", name, err)
		}
		t.Log(err)
		alter(t, d, func(st *unix.LoopInfo64) { *st = was })
	}

	second := attachRaw(t, path)
	defer detach(t, c, second)
	_, err := c.Attach(t.Context(), path, loopback.AttachOptions{Reuse: true})
	if !errors.Is(err, loopback.ErrAttached) {
		t.Errorf("attached twice: %v", err)
	}
	t.Log(err)
	got, err := c.Find(t.Context(), path)
	if err != nil || len(got) != 2 {
		t.Errorf("found %v, %v", got, err)
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
		t.Errorf("gone although someone has it open: %v", err)
	}
	release()
	got, err := c.Find(t.Context(), path)
	if err != nil || len(got) != 0 {
		t.Errorf("still attached: %v, %v", got, err)
	}
}

package loopback_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/internal/testkit/need"
	"thinctl/loopback"
	"thinctl/units"
)

// The /dev of a container has no nodes of loop devices.
func TestCreatesMissingNodes(t *testing.T) {
	need.Loops(t)
	old := unix.Umask(0o777)
	defer unix.Umask(old)
	for _, legacy := range []bool{false, true} {
		dir, dev := tempDir(t), t.TempDir()
		if err := os.Chmod(dev, 0o700); err != nil {
			t.Fatal(err)
		}
		c := loopback.New(loopback.Options{Dev: dev, Legacy: legacy, LockFile: filepath.Join(dir, "lock")})
		d := attach(t, c, makeFile(t, dir, "file", units.MiB), loopback.AttachOptions{})
		st, err := os.Stat(d.Path)
		if err != nil || filepath.Dir(d.Path) != dev || st.Mode() != os.ModeDevice|0o600 {
			t.Errorf("node %s: got mode %v, %v, want a device in %s with mode 0600", d.Path, st.Mode(), err, dev)
		}
		detach(t, c, d)
	}
}

func TestRejectsWrongNodes(t *testing.T) {
	need.Loops(t)
	dir, dev := tempDir(t), t.TempDir()
	for i := range 1024 {
		if err := os.WriteFile(fmt.Sprintf("%s/loop%d", dev, i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := loopback.New(loopback.Options{Dev: dev})
	_, err := c.Attach(t.Context(), makeFile(t, dir, "file", units.MiB), loopback.AttachOptions{})
	if !errors.Is(err, loopback.ErrNotLoop) {
		t.Errorf("attach with regular files as nodes: got %v, want %v", err, loopback.ErrNotLoop)
	}
	t.Log(err)
	for _, path := range []string{"/dev/null", "/dev/loop", "/dev/loop01", "/dev/loopx", dev + "/loop0"} {
		d := loopback.Device{Path: path, Backing: loopback.FileID{Device: 1, Inode: 1}}
		if err := c.Detach(t.Context(), d); !errors.Is(err, loopback.ErrNotLoop) {
			t.Errorf("detach %s: got %v, want %v", path, err, loopback.ErrNotLoop)
		}
	}
}

// Another program keeps the free device open exclusively.
func TestExhausted(t *testing.T) {
	need.Loops(t)
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	index, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		t.Fatal(err)
	}
	release := open(t, loopback.Device{Path: fmt.Sprintf("/dev/loop%d", index)}, os.O_RDWR|unix.O_EXCL)
	defer release()
	path := makeFile(t, tempDir(t), "file", units.MiB)

	for name, c := range map[string]*loopback.Control{
		"attempts": loopback.New(loopback.Options{Attempts: 3}),
		"timeout":  loopback.New(loopback.Options{Timeout: 100 * time.Millisecond, Attempts: 1 << 20}),
	} {
		_, err = c.Attach(t.Context(), path, loopback.AttachOptions{})
		if !errors.Is(err, loopback.ErrExhausted) || !strings.Contains(err.Error(), "max_loop") {
			t.Errorf("%s: got %v, want %v with a hint to max_loop", name, err, loopback.ErrExhausted)
		}
		t.Log(err)
	}
}

// attachRaw attaches a file without the checks of package loopback.
func attachRaw(t *testing.T, path string) loopback.Device {
	t.Helper()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for range 50 {
		index, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", index), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		err = unix.IoctlLoopConfigure(int(f.Fd()), &unix.LoopConfig{Fd: uint32(file.Fd())})
		f.Close()
		if err == nil {
			var st unix.Stat_t
			if err := unix.Fstat(int(file.Fd()), &st); err != nil {
				t.Fatal(err)
			}
			return loopback.Device{Path: f.Name(), Backing: loopback.FileID{Device: st.Dev, Inode: st.Ino}}
		}
	}
	t.Fatal("no free loop device")
	return loopback.Device{}
}

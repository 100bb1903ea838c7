package loopback

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/fault"
	"thinctl/internal/testkit/need"
)

func TestError(t *testing.T) {
	err := withOp("detach", "/dev/loop3", &Error{Kind: fault.Busy, Err: unix.EBUSY, Detail: "held by dm-0"})
	want := "loopback: detach /dev/loop3: in use: held by dm-0: device or resource busy"
	if err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	for _, target := range []error{fault.Busy, unix.EBUSY} {
		if !errors.Is(err, target) {
			t.Errorf("got %v, want it to match %v", err, target)
		}
	}
	if errors.Is(err, ErrForeign) {
		t.Errorf("got %v, want it not to match %v", err, ErrForeign)
	}
	if err := withOp("x", "y", nil); err != nil {
		t.Errorf("withOp of nil: got %v, want nil", err)
	}
	wrapped := withOp("attach", "f", errors.Join(&Error{Kind: ErrForeign}, fmt.Errorf("undo: %w", unix.EIO)))
	if !errors.Is(wrapped, ErrForeign) || !errors.Is(wrapped, unix.EIO) ||
		strings.Count(wrapped.Error(), "loopback:") != 1 {
		t.Errorf("got %v, want both causes and one prefix", wrapped)
	}
	for errno, kind := range map[unix.Errno]error{
		unix.ENOSPC: ErrNoSpace, unix.EDQUOT: ErrNoSpace, unix.EOPNOTSUPP: fault.Unsupported,
	} {
		if err := withOp("x", "y", os.NewSyscallError("call", errno)); !errors.Is(err, kind) {
			t.Errorf("%v: got %v, want kind %v", errno, err, kind)
		}
	}
}

func TestIndexOf(t *testing.T) {
	for path, want := range map[string]int{"/dev/loop0": 0, "loop17": 17, "/x/loop300": 300} {
		if got, err := indexOf(path); err != nil || got != want {
			t.Errorf("indexOf(%q): got %d, %v, want %d", path, got, err, want)
		}
	}
	for _, path := range []string{"", "loop", "loop-1", "loop01", "loop1p1", "sda", "loop-control", "loop+1"} {
		if got, err := indexOf(path); !errors.Is(err, ErrNotLoop) {
			t.Errorf("indexOf(%q): got %d, %v, want %v", path, got, err, ErrNotLoop)
		}
	}
}

// With the module parameter max_part=7 the minor of loop3 is 24.
func TestNumberFromSysfs(t *testing.T) {
	sys := t.TempDir()
	dir := filepath.Join(sys, "block", "loop3")
	err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "dev"), []byte("7:24\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	c := New(Options{Sys: sys})
	if got := c.number(3); got != (blockdev.Number{Major: 7, Minor: 24}) || got.String() != "7:24" {
		t.Errorf("loop3: got %v, want 7:24", got)
	}
	if got := c.number(4); got != (blockdev.Number{Major: 7, Minor: 4}) {
		t.Errorf("loop4, which is not in sysfs: got %v, want 7:4", got)
	}
}

func TestLockEndsWithContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var files [2]*os.File
	for i := range files {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	if err := flock(t.Context(), files[0]); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := flock(ctx, files[1]); !errors.Is(err, fault.Busy) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second lock: got %v, want %v and %v", err, fault.Busy, context.DeadlineExceeded)
	}
	files[0].Close()
	if err := flock(t.Context(), files[1]); err != nil {
		t.Errorf("lock after the close of the first file: got %v, want nil", err)
	}
}

// A loop device has LOOP_CONFIGURE, /dev/null does not: it stands for the loop driver
// of a kernel before 5.8.
func TestCanConfigure(t *testing.T) {
	need.Loops(t)
	for path, want := range map[string]bool{"/dev/loop0": true, "/dev/null": false} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if got := canConfigure(f); got != want {
			t.Errorf("canConfigure(%s): got %v, want %v", path, got, want)
		}
	}
}

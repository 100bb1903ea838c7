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

	"thinctl/blockdev"
	"thinctl/internal/testkit/need"

	"golang.org/x/sys/unix"
)

func TestError(t *testing.T) {
	err := inOp("detach", "/dev/loop3", &Error{Kind: ErrBusy, Err: unix.EBUSY, Detail: "held by dm-0"})
	want := "loopback: detach /dev/loop3: in use: held by dm-0: device or resource busy"
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	for _, target := range []error{ErrBusy, unix.EBUSY} {
		if !errors.Is(err, target) {
			t.Errorf("%v is not %v", err, target)
		}
	}
	if errors.Is(err, ErrForeign) || inOp("x", "y", nil) != nil {
		t.Error("an error matches what it is not")
	}
	wrapped := inOp("attach", "f", errors.Join(&Error{Kind: ErrForeign}, fmt.Errorf("undo: %w", unix.EIO)))
	if !errors.Is(wrapped, ErrForeign) || !errors.Is(wrapped, unix.EIO) || strings.Count(wrapped.Error(), "loopback:") != 1 {
		t.Errorf("%v lost something", wrapped)
	}
	for errno, kind := range map[unix.Errno]error{unix.ENOSPC: ErrNoSpace, unix.EDQUOT: ErrNoSpace, unix.EOPNOTSUPP: ErrUnsupported} {
		if !errors.Is(inOp("x", "y", os.NewSyscallError("call", errno)), kind) {
			t.Errorf("%v is not %v", errno, kind)
		}
	}
}

func TestIndexOf(t *testing.T) {
	for path, want := range map[string]int{"/dev/loop0": 0, "loop17": 17, "/x/loop300": 300} {
		if got, err := indexOf(path); err != nil || got != want {
			t.Errorf("%s: %d, %v", path, got, err)
		}
	}
	for _, path := range []string{"", "loop", "loop-1", "loop01", "loop1p1", "sda", "loop-control", "loop+1"} {
		if got, err := indexOf(path); !errors.Is(err, ErrNotLoop) {
			t.Errorf("%q: %d, %v", path, got, err)
		}
	}
}

// With max_part=7 the minor of loop3 is 24.
func TestNumberComesFromSysfs(t *testing.T) {
	sys := t.TempDir()
	dir := filepath.Join(sys, "block", "loop3")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "dev"), []byte("7:24\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	c := New(Options{Sys: sys})
	if got := c.number(3); got != (blockdev.Number{Major: 7, Minor: 24}) || got.String() != "7:24" {
		t.Errorf("loop3 is %v", got)
	}
	if got := c.number(4); got != (blockdev.Number{Major: 7, Minor: 4}) {
		t.Errorf("loop4, unknown to sysfs, is %v", got)
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
	if err := flock(ctx, files[1]); !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	files[0].Close()
	if err := flock(t.Context(), files[1]); err != nil {
		t.Errorf("the lock outlived its file: %v", err)
	}
}

// What tells this kernel from one before 5.8: an old driver answers EINVAL as
// everything that is no loop device answers ENOTTY.
func TestCanConfigure(t *testing.T) {
	need.Loops(t)
	for path, want := range map[string]bool{"/dev/loop0": true, "/dev/null": false} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if got := canConfigure(f); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

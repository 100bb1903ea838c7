package loopback_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/internal/testkit/need"
	"thinctl/loopback"
	"thinctl/units"
)

func usage(t *testing.T, path string) loopback.FileUsage {
	t.Helper()
	u, err := loopback.Usage(path)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestCreateSparse(t *testing.T) {
	for _, mask := range []int{0, 0o777} {
		dir := t.TempDir()
		old := unix.Umask(mask)
		sparse := loopback.CreateSparse(filepath.Join(dir, "sparse"), 100*units.GiB+1, loopback.FileOptions{})
		full := loopback.CreateSparse(filepath.Join(dir, "full"), 3*units.MiB,
			loopback.FileOptions{Mode: 0o640, Preallocate: true})
		empty := loopback.CreateSparse(filepath.Join(dir, "empty"), 0, loopback.FileOptions{Preallocate: true})
		unix.Umask(old)
		if err := errors.Join(sparse, full, empty); err != nil {
			t.Fatal(err)
		}
		for name, mode := range map[string]os.FileMode{"sparse": 0o600, "full": 0o640, "empty": 0o600} {
			st, err := os.Stat(filepath.Join(dir, name))
			if err != nil || st.Mode() != mode {
				t.Errorf("umask %o: %s has mode %v, want %v (%v)", mask, name, st.Mode(), mode, err)
			}
		}
		if u := usage(t, filepath.Join(dir, "sparse")); u.Apparent != 100*units.GiB+1 || u.Allocated > 64*units.KiB {
			t.Errorf("sparse file: got %+v, want %d bytes and hardly any block", u, 100*units.GiB+1)
		}
		if u := usage(t, filepath.Join(dir, "full")); u.Apparent != 3*units.MiB || u.Allocated < 3*units.MiB {
			t.Errorf("preallocated file: got %+v, want %d bytes in blocks", u, 3*units.MiB)
		}
	}
}

func TestCreateSparseKeepsAnExistingFile(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(path, []byte("precious"), 0o600), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, link} {
		if err := loopback.CreateSparse(p, units.MiB, loopback.FileOptions{}); !errors.Is(err, os.ErrExist) {
			t.Errorf("create %s: got %v, want %v", p, err, os.ErrExist)
		}
	}
	if got, err := os.ReadFile(path); string(got) != "precious" {
		t.Errorf("content: got %q, %v, want it unchanged", got, err)
	}
}

// hasSizeLimit reports whether the file system of dir rejects the largest size that an
// int64 can hold. Most do, tmpfs does not.
func hasSizeLimit(t *testing.T, dir string) bool {
	t.Helper()
	path := filepath.Join(dir, "largest")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	limited := os.Truncate(path, math.MaxInt64) != nil
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if !limited {
		t.Logf("%s accepts files of any size: the cases with %d bytes are left out", dir, int64(math.MaxInt64))
	}
	return limited
}

func TestFailedCreateSparseLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	limited := hasSizeLimit(t, dir)
	for size, kind := range map[units.Bytes]error{
		math.MaxInt64:     loopback.ErrNoSpace, // EFBIG
		math.MaxInt64 + 1: fault.Invalid,
	} {
		if size == math.MaxInt64 && !limited {
			continue
		}
		for _, pre := range []bool{false, true} {
			err := loopback.CreateSparse(path, size, loopback.FileOptions{Preallocate: pre})
			if !errors.Is(err, kind) {
				t.Errorf("create %d bytes, preallocate %v: got %v, want %v", uint64(size), pre, err, kind)
			}
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("stat after creating %d bytes failed: got %v, want no file", uint64(size), err)
			}
		}
	}
	err := loopback.CreateSparse(filepath.Join(dir, "none", "file"), 1, loopback.FileOptions{})
	var op *loopback.Error
	if !errors.Is(err, os.ErrNotExist) || !errors.As(err, &op) || op.Op != "create" {
		t.Errorf("create without a directory: got %v, want %v", err, os.ErrNotExist)
	}
}

// The host file system has 2 MiB.
func TestHostFileSystemFull(t *testing.T) {
	need.Loops(t)
	dir := mount(t, "tmpfs", "size=2m")
	path := filepath.Join(dir, "file")
	err := loopback.CreateSparse(path, 4*units.MiB, loopback.FileOptions{Preallocate: true})
	if !errors.Is(err, loopback.ErrNoSpace) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("create: got %v, want %v", err, loopback.ErrNoSpace)
	}
	t.Log(err)
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat after the failure: got %v, want no file", err)
	}
	makeFile(t, dir, "file", units.MiB)
	if err := os.WriteFile(path, []byte("data"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(units.MiB)); err != nil {
		t.Fatal(err)
	}
	before := usage(t, path)
	err = loopback.Grow(path, 8*units.MiB, loopback.FileOptions{Preallocate: true})
	if !errors.Is(err, loopback.ErrNoSpace) {
		t.Errorf("grow: got %v, want %v", err, loopback.ErrNoSpace)
	}
	if after := usage(t, path); after != before {
		t.Errorf("usage after a failed Grow: got %+v, want %+v", after, before)
	}
	space, err := loopback.FreeSpace(dir)
	if err != nil || space.Total != 2*units.MiB || space.Free > 2*units.MiB || space.Free == 0 {
		t.Errorf("free space: got %+v, %v, want a part of 2 MiB", space, err)
	}
}

func TestGrow(t *testing.T) {
	path := makeFile(t, t.TempDir(), "file", units.MiB)
	limited := hasSizeLimit(t, t.TempDir())
	for _, c := range []struct {
		size units.Bytes
		pre  bool
		kind error
		want units.Bytes
	}{
		{units.MiB - 1, false, fault.Invalid, units.MiB},
		{0, true, fault.Invalid, units.MiB},
		{units.MiB, true, nil, units.MiB},
		{2 * units.MiB, false, nil, 2 * units.MiB},
		{3 * units.MiB, true, nil, 3 * units.MiB},
		{math.MaxInt64, true, loopback.ErrNoSpace, 3 * units.MiB},
		{math.MaxInt64, false, loopback.ErrNoSpace, 3 * units.MiB},
		{math.MaxUint64, false, fault.Invalid, 3 * units.MiB},
	} {
		if c.size == math.MaxInt64 && !limited {
			continue
		}
		err := loopback.Grow(path, c.size, loopback.FileOptions{Preallocate: c.pre})
		if (c.kind == nil) != (err == nil) || !errors.Is(err, c.kind) {
			t.Errorf("grow to %d: got %v, want %v", uint64(c.size), err, c.kind)
		}
		if u := usage(t, path); u.Apparent != c.want {
			t.Errorf("size after growing to %d: got %+v, want %d", uint64(c.size), u, c.want)
		}
	}
	if u := usage(t, path); u.Allocated < units.MiB || u.Allocated > units.MiB+64*units.KiB {
		t.Errorf("allocated: got %+v, want only the added MiB", u)
	}
	if err := loopback.Grow(t.TempDir(), units.MiB, loopback.FileOptions{}); !errors.Is(err, loopback.ErrNotRegular) {
		t.Errorf("grow a directory: got %v, want %v", err, loopback.ErrNotRegular)
	}
}

func TestPunchHole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := loopback.CreateSparse(path, 4*units.MiB, loopback.FileOptions{Preallocate: true}); err != nil {
		t.Fatal(err)
	}
	if err := loopback.PunchHole(path, units.MiB, 2*units.MiB); err != nil {
		t.Fatal(err)
	}
	if u := usage(t, path); u.Apparent != 4*units.MiB || u.Allocated > 2*units.MiB+64*units.KiB {
		t.Errorf("usage with a hole of 2 MiB: got %+v, want 4 MiB with 2 MiB allocated", u)
	}
	if err := loopback.PunchHole(path, units.MiB, 0); err != nil {
		t.Errorf("empty hole: got %v, want nil", err)
	}
	if err := loopback.PunchHole(path, math.MaxInt64, 1); !errors.Is(err, fault.Invalid) {
		t.Errorf("hole beyond the largest file: got %v, want %v", err, fault.Invalid)
	}
}

func TestFreeSpace(t *testing.T) {
	s, err := loopback.FreeSpace(t.TempDir())
	if err != nil || s.Total == 0 || s.Free > s.Total || s.Available > s.Free {
		t.Errorf("free space: got %+v, %v, want Total >= Free >= Available", s, err)
	}
	if _, err := loopback.FreeSpace(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("free space of a missing directory: got %v, want %v", err, os.ErrNotExist)
	}
	if _, err := loopback.Usage(t.TempDir()); !errors.Is(err, loopback.ErrNotRegular) {
		t.Errorf("usage of a directory: got %v, want %v", err, loopback.ErrNotRegular)
	}
}

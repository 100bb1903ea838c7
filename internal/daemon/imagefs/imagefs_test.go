package imagefs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/internal/testkit/need"
	"thinctl/loopback"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// The figures are shown as they are, over the daemon's restarts, a smaller pool of the
// same name and a lost image; removed, nothing is left.
func TestShow(t *testing.T) {
	need.Loops(t)
	loops := loopback.New(loopback.Options{})
	t.Cleanup(func() { loops.Close() })
	dir := t.TempDir()
	fresh := func() *FS {
		return &FS{Loops: loops, Image: filepath.Join(dir, "k8s.imagefs"), Target: filepath.Join(dir, "k8s.fs")}
	}
	f := fresh()
	t.Cleanup(func() {
		if err := f.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	var device uint64
	steps := []struct {
		name            string
		size, available units.Bytes
		fs              *FS
		sameDevice      bool
	}{
		{"new", 20 * units.GiB, 15 * units.GiB, f, false},
		{"fuller", 20 * units.GiB, 3 * units.GiB, f, true},
		{"full", 20 * units.GiB, 0, f, true},
		{"empty", 20 * units.GiB, 20 * units.GiB, f, true},
		{"restarted", 20 * units.GiB, 5 * units.GiB, fresh(), true},
		{"another pool, smaller", 128 * units.MiB, 64 * units.MiB, f, false},
	}
	for _, s := range steps {
		if err := s.fs.Show(t.Context(), s.size, s.available); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		expect(t, s.name, f.Target, s.size, s.available)
		is := deviceOf(t, f.Target)
		if s.sameDevice && is != device {
			t.Errorf("%s: the device is %#x, it was %#x", s.name, is, device)
		}
		device = is
	}
	if err := os.WriteFile(filepath.Join(f.Target, "file"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("a file was written to it: %v, want EROFS", err)
	}
	var taken unix.Stat_t
	if err := unix.Stat(f.Image, &taken); err != nil || taken.Blocks*512 > 1<<20 {
		t.Errorf("the image takes %d bytes, want less than 1 MiB (%v)", taken.Blocks*512, err)
	}
	if err := os.Remove(f.Image); err != nil {
		t.Fatal(err)
	}
	if err := fresh().Show(t.Context(), 256*units.MiB, 100*units.MiB); err != nil {
		t.Fatalf("without its image: %v", err)
	}
	expect(t, "without its image", f.Target, 256*units.MiB, 100*units.MiB)
	grows(t, fresh())

	if err := f.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.Image); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the image is left: %v", err)
	}
	if _, err := os.Stat(f.Target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mount point is left: %v", err)
	}
	// A directory with files in it is another's.
	if err := os.MkdirAll(filepath.Join(f.Target, "kept"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(t.Context()); err != nil {
		t.Errorf("a directory with files in it: %v", err)
	}
	if _, err := os.Stat(filepath.Join(f.Target, "kept")); err != nil {
		t.Error(err)
	}
}

// grows shows more on the same device, which cadvisor goes by.
func grows(t *testing.T, f *FS) {
	device := deviceOf(t, f.Target)
	err := f.Show(t.Context(), 512*units.MiB, 400*units.MiB)
	if errors.Is(err, filesystem.ErrPermission) {
		t.Log("NOT SHOWN HERE: a file system that grows; this machine's root has no CAP_SYS_RESOURCE")
		return
	}
	if err != nil {
		t.Fatalf("grown: %v", err)
	}
	expect(t, "grown", f.Target, 512*units.MiB, 400*units.MiB)
	if is := deviceOf(t, f.Target); is != device {
		t.Errorf("grown: the device is %#x, it was %#x", is, device)
	}
	if err := os.WriteFile(filepath.Join(f.Target, "file"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("grown: a file was written to it: %v, want EROFS", err)
	}
}

// expect compares what statfs reports: the size to the byte, the available space less than
// a cluster or, of an empty pool, the file system's own structures below it.
func expect(t *testing.T, name, target string, size, available units.Bytes) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		t.Fatal(err)
	}
	if got := units.Bytes(st.Blocks) * units.Bytes(st.Frsize); got != size {
		t.Errorf("%s: the size is %d, want %d", name, got, size)
	}
	got, slack := units.Bytes(st.Bavail)*units.Bytes(st.Frsize), 64*units.KiB
	if available == size {
		slack = size/500 + units.MiB
	}
	if got > available+slack || got+slack < available {
		t.Errorf("%s: %d bytes are available, want %d", name, got, available)
	}
	if st.Ffree*20 < st.Files {
		t.Errorf("%s: %d of %d inodes are free: the kubelet would evict pods", name, st.Ffree, st.Files)
	}
}

func deviceOf(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Dev
}

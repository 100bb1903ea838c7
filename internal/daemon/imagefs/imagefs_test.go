package imagefs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/internal/testkit/need"
	"thinctl/loopback"
	"thinctl/units"
)

// The sizes are right also after a restart of the daemon, a smaller pool of the same name
// and the loss of the image. Remove leaves nothing behind.
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
			t.Fatalf("%s: got %v, want nil", s.name, err)
		}
		expect(t, s.name, f.Target, s.size, s.available)
		is := deviceOf(t, f.Target)
		if s.sameDevice && is != device {
			t.Errorf("%s: got device %#x, want %#x", s.name, is, device)
		}
		device = is
	}
	if err := os.WriteFile(filepath.Join(f.Target, "file"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("write a file: got %v, want EROFS", err)
	}
	var taken unix.Stat_t
	if err := unix.Stat(f.Image, &taken); err != nil || taken.Blocks*512 > 1<<20 {
		t.Errorf("image: got %d bytes allocated, %v, want less than 1 MiB", taken.Blocks*512, err)
	}
	if err := os.Remove(f.Image); err != nil {
		t.Fatal(err)
	}
	if err := fresh().Show(t.Context(), 256*units.MiB, 100*units.MiB); err != nil {
		t.Fatalf("without its image: got %v, want nil", err)
	}
	expect(t, "without its image", f.Target, 256*units.MiB, 100*units.MiB)
	grows(t, fresh())

	if err := f.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.Image); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("image after Remove: got %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := os.Stat(f.Target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("mount point after Remove: got %v, want %v", err, fs.ErrNotExist)
	}
	// A directory with files in it stays.
	if err := os.MkdirAll(filepath.Join(f.Target, "kept"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(t.Context()); err != nil {
		t.Errorf("a directory with files in it: got %v, want nil", err)
	}
	if _, err := os.Stat(filepath.Join(f.Target, "kept")); err != nil {
		t.Error(err)
	}
}

// grows shows a larger size and checks that the device, which cadvisor uses, is the same.
func grows(t *testing.T, f *FS) {
	device := deviceOf(t, f.Target)
	err := f.Show(t.Context(), 512*units.MiB, 400*units.MiB)
	if errors.Is(err, fault.Denied) {
		t.Log("NOT SHOWN HERE: a file system that grows; this machine's root has no CAP_SYS_RESOURCE")
		return
	}
	if err != nil {
		t.Fatalf("grown: got %v, want nil", err)
	}
	expect(t, "grown", f.Target, 512*units.MiB, 400*units.MiB)
	if is := deviceOf(t, f.Target); is != device {
		t.Errorf("grown: got device %#x, want %#x", is, device)
	}
	if err := os.WriteFile(filepath.Join(f.Target, "file"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("grown, write a file: got %v, want EROFS", err)
	}
}

// expect checks the sizes from statfs: the size is exact. The available space is less than
// a cluster below the pool's; for an empty pool, the file system's structures below it.
func expect(t *testing.T, name, target string, size, available units.Bytes) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		t.Fatal(err)
	}
	if got := units.Bytes(st.Blocks) * units.Bytes(st.Frsize); got != size {
		t.Errorf("%s: got size %d, want %d", name, got, size)
	}
	got, slack := units.Bytes(st.Bavail)*units.Bytes(st.Frsize), 64*units.KiB
	if available == size {
		slack = size/500 + units.MiB
	}
	if got > available+slack || got+slack < available {
		t.Errorf("%s: got %d bytes available, want %d", name, got, available)
	}
	if st.Ffree*20 < st.Files {
		t.Errorf("%s: got %d of %d inodes free, want enough for the kubelet", name, st.Ffree, st.Files)
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

package filesystem

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/units"
)

func allocated(t *testing.T, path string) units.Bytes {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return units.Sectors(st.Blocks).Bytes()
}

func capacity(t *testing.T, target string) units.Bytes {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		t.Fatal(err)
	}
	return units.Bytes(st.Blocks) * units.Bytes(st.Bsize)
}

func TestGrow(t *testing.T) {
	eachType(t, func(t *testing.T, kind Type, size units.Bytes) {
		d := newDisk(t, size).format(FormatOptions{Type: kind})
		if err := Grow(t.Context(), d.device, t.TempDir()); !errors.Is(err, ErrNotMounted) {
			t.Errorf("not mounted: got %v", err)
		}
		target := d.mount(MountOptions{})
		before := capacity(t, target)
		if err := Grow(t.Context(), d.device, target); err != nil || capacity(t, target) != before {
			t.Errorf("with nothing to grow by: got %v", err)
		}
		if err := os.Truncate(d.file, int64(2*size)); err != nil {
			t.Fatal(err)
		}
		if err := unix.IoctlSetInt(int(d.open.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
			t.Fatal(err)
		}
		err := Grow(t.Context(), d.device, target)
		if kind == Ext4 && !capable(unix.CAP_SYS_RESOURCE) {
			// In a sandbox root may not have it: then the error is tested.
			if !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "CAP_SYS_RESOURCE") {
				t.Errorf("without CAP_SYS_RESOURCE: got %v", err)
			}
			t.Log("NOT SHOWN HERE: an ext4 that grows; this machine's root has no CAP_SYS_RESOURCE")
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if after := capacity(t, target); after < before+size*9/10 {
			t.Errorf("got %v after %v, want %v more", after, before, size)
		}
		other := newDisk(t, units.MiB)
		if err := Grow(t.Context(), other.device, target); !errors.Is(err, ErrNotMounted) {
			t.Errorf("another device: got %v", err)
		}
		none := programs{dirs: []string{t.TempDir()}}
		if err := none.grow(t.Context(), d.device, target); !errors.Is(err, fault.Unavailable) {
			t.Errorf("no program: got %v", err)
		}
	})
}

func TestFreezeAndThaw(t *testing.T) {
	eachType(t, func(t *testing.T, kind Type, size units.Bytes) {
		d := newDisk(t, size).format(FormatOptions{Type: kind})
		target := d.mount(MountOptions{})
		if err := Thaw(target); !errors.Is(err, fault.Refused) || !strings.Contains(err.Error(), "not frozen") {
			t.Errorf("thaw without a freeze: got %v", err)
		}
		if err := Freeze(t.Context(), target); err != nil {
			t.Fatal(err)
		}
		thawed := false
		defer func() {
			if !thawed {
				Thaw(target) // or the test could never be cleaned up
			}
		}()
		if err := Freeze(t.Context(), target); !errors.Is(err, fault.Refused) || !strings.Contains(err.Error(), "frozen already") {
			t.Errorf("freezing twice: got %v", err)
		}
		written := make(chan error, 1)
		go func() { written <- os.WriteFile(filepath.Join(target, "file"), []byte("x"), 0o600) }()
		select {
		case err := <-written:
			t.Errorf("write to a frozen file system: got %v, want it to block", err)
		case <-time.After(200 * time.Millisecond):
		}
		if err := Thaw(target); err != nil {
			t.Fatal(err)
		}
		thawed = true
		select {
		case err := <-written:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(5 * time.Minute):
			t.Error("got a blocked writer after the thaw")
		}
	})
}

// The directory is on a file system of the host, which must not be frozen.
func TestOnlyMountPoints(t *testing.T) {
	dir := t.TempDir()
	d := newDisk(t, 64*units.MiB).format(FormatOptions{Type: Ext4})
	target := d.mount(MountOptions{})
	link := filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(target, "below")
	if err := os.Mkdir(below, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, link, below, filepath.Join(dir, "none"), "mnt"} {
		if err := Freeze(t.Context(), path); err == nil {
			t.Errorf("got %s frozen; thaw: %v", path, Thaw(path))
		}
		if err := Thaw(path); err == nil || errors.Is(err, fault.Refused) {
			t.Errorf("%s: got %v, want an error before the ioctl", path, err)
		}
		if _, err := Trim(t.Context(), path); err == nil {
			t.Errorf("got %s trimmed, want an error", path)
		}
	}
	if err := Freeze(t.Context(), dir); !errors.Is(err, ErrNotMounted) {
		t.Errorf("got %v", err)
	}
}

func TestTrim(t *testing.T) {
	eachType(t, func(t *testing.T, kind Type, size units.Bytes) {
		d := newDisk(t, size).format(FormatOptions{Type: kind})
		target := d.mount(MountOptions{})
		file := filepath.Join(target, "file")
		fill := func() {
			write(t, file, int(24*units.MiB))
			syncFS(t, target)
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			syncFS(t, target)
		}
		// xfs frees the blocks of a removed file in the background
		// (fs/xfs/xfs_icache.c, xfs_inodegc_worker), so it may take several.
		for _, part := range []units.Bytes{trimPart, 3 * units.MiB} {
			fill()
			before := allocated(t, d.file)
			waitFor(t, func() bool {
				syncFS(t, target)
				if _, err := trim(t.Context(), target, part); err != nil {
					t.Fatalf("in parts of %v: %v", part, err)
				}
				return allocated(t, d.file)+20*units.MiB <= before
			})
		}
		if _, err := Trim(t.Context(), target); err != nil {
			t.Error(err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Trim(ended, target); !errors.Is(err, context.Canceled) {
			t.Errorf("with a dead context: got %v", err)
		}
	})
}

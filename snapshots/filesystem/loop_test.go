package filesystem

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/internal/testkit/need"
	"thinctl/units"
)

// loopDisk is a sparse file with a loop device. The end of the test removes both.
type loopDisk struct {
	t      *testing.T
	file   string
	device string
	open   *os.File
}

func newDisk(t *testing.T, size units.Bytes) *loopDisk {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, int64(size))); err != nil {
		t.Fatal(err)
	}
	return attach(t, file, 0)
}

func attach(t *testing.T, file string, flags uint32) *loopDisk {
	t.Helper()
	device := need.Loop(t, file, flags)
	return &loopDisk{t, file, device.Name(), device}
}

func (d *loopDisk) number() blockdev.Number {
	d.t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(d.device, &st); err != nil {
		d.t.Fatal(err)
	}
	return blockdev.NumberOf(uint64(st.Rdev))
}

func (d *loopDisk) format(o FormatOptions) *loopDisk {
	d.t.Helper()
	if o.Type != "" {
		need.Program(d.t, "mkfs."+string(o.Type))
	}
	if err := Format(d.t.Context(), d.device, o); err != nil {
		d.t.Fatal(err)
	}
	return d
}

// mount mounts the disk at a new directory until the test ends.
func (d *loopDisk) mount(o MountOptions) string {
	d.t.Helper()
	target := filepath.Join(d.t.TempDir(), "mnt")
	o.MakeTarget = true
	if err := Mount(d.t.Context(), d.device, target, o); err != nil {
		d.t.Fatal(err)
	}
	unmountAfter(d.t, target)
	return target
}

func unmountAfter(t *testing.T, target string) {
	t.Cleanup(func() {
		// Lazily, so that a failed test leaves nothing behind.
		if err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			t.Errorf("cleaning up %s: %v", target, err)
		}
	})
}

func write(t *testing.T, path string, size int) {
	t.Helper()
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*7 + 1)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func syncFS(t *testing.T, target string) {
	t.Helper()
	f, err := os.Open(target)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
}

// sizes are of disks that each file system accepts.
func eachType(t *testing.T, test func(t *testing.T, kind Type, size units.Bytes)) {
	t.Run("ext4", func(t *testing.T) { test(t, Ext4, 64*units.MiB) })
	t.Run("xfs", func(t *testing.T) { test(t, XFS, 320*units.MiB) })
}

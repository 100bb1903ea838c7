//go:build kernel

package integration

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/dm"
	"thinctl/loopback"
	"thinctl/thinpool"
	"thinctl/units"
)

// mountedExt4 mounts a new file system of that size.
func mountedExt4(t *testing.T, size units.Bytes) string {
	t.Helper()
	image, dir := filepath.Join(t.TempDir(), "ext4"), t.TempDir()
	if err := loopback.CreateSparse(image, size, loopback.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs.ext4", "-q", "-m", "0", image)
	run(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() {
		// A pool's database may stay open for a second after its last use.
		var err error
		for range 50 {
			if err = unix.Unmount(dir, 0); !errors.Is(err, unix.EBUSY) {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if err != nil {
			t.Errorf("unmounting %s: %v\n%s", dir, err,
				run(t, "sh", "-c", "ls -l /proc/self/fd /proc/[0-9]*/fd | grep "+dir+" || true"))
		}
	})
	return dir
}

// The host's file system fills up under the sparse file of a pool.
func TestHostFileSystemFull(t *testing.T) {
	host := mountedExt4(t, 64*units.MiB)
	pool := newPoolUnder(t, filepath.Join(host, "pools"), thinpool.CreateOptions{
		DataSize: 256 * units.MiB, MetadataSize: 4 * units.MiB, BaseSize: 256 * units.MiB,
	})
	doomed := newLoad(t, pool, "doomed")
	if err := doomed.fill(span(0, 256, 1), 1); err != nil {
		t.Fatal(err)
	}
	base := newLoad(t, pool, "base")
	err := base.fill(span(0, 4096, 1), 1)
	if !errors.Is(err, unix.EIO) && !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("writing more than the host has: %v", err)
	}
	s := statusOf(t, pool)
	t.Logf("full after %d blocks: %v; mode %s, needs_check %v, host has %s of %s, pool %s of %s", len(base.flushed), err,
		s.Kernel.Mode, s.Kernel.NeedsCheck, s.Host.Available, s.Host.Total, s.Data.Available, s.Data.Total)
	if s.Host.Available > units.MiB {
		t.Errorf("available on the host: got %s", s.Host.Available)
	}
	base.intact(t, 0)
	doomed.intact(t, 0)
	refusedNew(t, pool, "base", thinpool.ErrReserve, host)

	// No space may be left, so that the database has no page to spare.
	exhaust(t, host)
	remove(t, pool, "doomed")
	after := statusOf(t, pool)
	if after.Kernel.Mode != dm.ModeWrite || after.Host.Available < 12*units.MiB {
		t.Errorf("after 16M were removed: got mode %s, %s available on the host", after.Kernel.Mode, after.Host.Available)
	}
	base.intact(t, 0)
	if err := base.fill(span(2000, 2064, 1), 2); err != nil {
		t.Errorf("write with free space: %v", err)
	}
	base.intact(t, 0)
	if err := os.Remove(filepath.Join(host, "ballast")); err != nil {
		t.Error(err)
	}
	if _, err := pool.Snapshot(testContext(t), "base", "late", thinpool.SnapshotOptions{}); err != nil {
		t.Error(err)
	}
	noFindings(t, pool)
}

// exhaust allocates the last block.
func exhaust(t *testing.T, dir string) {
	t.Helper()
	file, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for page := make([]byte, 4096); err == nil; {
		_, err = file.Write(page)
	}
	if err = errors.Join(err, file.Sync()); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

//go:build kernel

package integration

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// Each operation that removes a device waits for a process that has it open, and ends once
// the kernel releases the device. The handle is closed after the wait has begun.
func TestOpenersAreWaitedFor(t *testing.T) {
	ctx := testContext(t)
	self := fmt.Sprintf("(pid %d)", os.Getpid())
	find := snapshots.Holders(filesystem.Local{})
	var open *os.File
	host := realHost(t)
	host.BusyTimeout = time.Hour
	host.Holders = func(ctx context.Context, dev blockdev.Number) (thinpool.Holding, error) {
		held, err := find(ctx, dev)
		if !strings.Contains(held.String(), self) {
			t.Errorf("holders of %s: %s, %v; want this process, %s", dev, held, err, self)
		}
		return held, open.Close()
	}
	pool := destroyedPool(t, host)
	hold := func() {
		t.Helper()
		volume, err := pool.ActivateVolume(ctx, "v")
		if err == nil {
			open, err = os.Open(volume.Node)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	closed := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := open.Close(); err == nil {
			t.Errorf("%s did not wait for the open device", what)
		}
	}
	create := func() {
		t.Helper()
		if _, err := pool.CreateVolume(ctx, "v", thinpool.VolumeOptions{}); err != nil {
			t.Fatal(err)
		}
		hold()
	}
	create()
	closed("deactivate a volume", pool.DeactivateVolume(ctx, "v"))
	hold()
	removal, err := pool.RemoveVolume(ctx, "v", thinpool.RemoveOptions{})
	closed("remove a volume", err)
	if !removal.Reaped {
		t.Errorf("remove a volume: got %+v, want it reaped", removal)
	}
	create()
	removals, err := pool.RemoveVolumes(ctx, []string{"v"}, thinpool.RemoveOptions{Deferred: true, Later: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := pool.ReapVolumes(ctx, removals[0].Volume.ID)
	closed("reap a volume", err)
	if len(waiting) != 0 {
		t.Errorf("reap a volume: got %v unreaped, want none", waiting)
	}
	create()
	closed("deactivate the pool", pool.Deactivate(ctx))
	if err := pool.Activate(ctx); err != nil {
		t.Fatal(err)
	}
	status, err := pool.Status(ctx)
	if err == nil {
		open, err = os.Open(dm.Name(status.Device).Node())
	}
	if err != nil {
		t.Fatal(err)
	}
	closed("deactivate the pool, whose own device is open", pool.Deactivate(ctx))
	if err := pool.Activate(ctx); err != nil {
		t.Fatal(err)
	}
	hold()
	closed("destroy the pool", pool.Destroy(ctx))
}

// A device that is mounted, or below another device, is refused at once. The error names
// the holder, and the device does not change.
func TestOpenersThatStay(t *testing.T) {
	ctx := testContext(t)
	host := realHost(t)
	host.BusyTimeout, host.Holders = time.Hour, snapshots.Holders(filesystem.Local{})
	pool := destroyedPool(t, host)
	if _, err := pool.CreateVolume(ctx, "v", thinpool.VolumeOptions{}); err != nil {
		t.Fatal(err)
	}
	volume, err := pool.ActivateVolume(ctx, "v")
	if err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs.ext4", "-q", volume.Node)
	refused := func(says string) {
		t.Helper()
		_, removed := pool.RemoveVolume(ctx, "v", thinpool.RemoveOptions{})
		for name, err := range map[string]error{"remove": removed, "deactivate": pool.DeactivateVolume(ctx, "v"),
			"deactivate the pool": pool.Deactivate(ctx), "destroy": pool.Destroy(ctx)} {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: got %v, want %q in it", name, err, says)
			}
		}
		if status, err := pool.VolumeStatus(ctx, "v"); err != nil || !status.Active {
			t.Errorf("after the refusals: %+v, %v; want the volume active", status, err)
		}
	}
	target := t.TempDir()
	if err := unix.Mount(volume.Node, target, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	refused("mounted at " + target)
	if err := unix.Unmount(target, 0); err != nil {
		t.Fatal(err)
	}
	run(t, "dmsetup", "create", "above", "--table", fmt.Sprintf("0 2048 linear %s 0", volume.Node))
	refused("under dm-")
	run(t, "dmsetup", "remove", "above")
}

// destroyedPool makes a pool that the test may destroy itself.
func destroyedPool(t *testing.T, host thinpool.Host) *thinpool.Pool {
	t.Helper()
	pool, err := thinpool.Create(testContext(t), host, t.TempDir(), poolName(t), small())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := pool.Destroy(context.Background())
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, thinpool.ErrNoDatabase) {
			t.Error(err)
		}
	})
	return pool
}

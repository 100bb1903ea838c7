package thinpool_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"thinctl/dm"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// lostDatabases returns functions that damage the database of the fixture's pool, by the name
// of the damage. The pool must be inactive and closed, and have the volumes base and more.
func lostDatabases() map[string]func(f *fixture) {
	return map[string]func(f *fixture){
		"gone":    func(f *fixture) { check(f.t, os.Remove(f.file("state.db"))) },
		"damaged": func(f *fixture) { f.write(f.file("state.db"), 0, string(make([]byte, 16<<10))) },
		"gone, no copy": func(f *fixture) {
			check(f.t, os.Remove(f.file("state.db")))
			check(f.t, os.Remove(f.file("state.db.gz")))
		},
		"damaged, no copy": func(f *fixture) {
			check(f.t, os.Truncate(f.file("state.db"), 4096))
			check(f.t, os.Remove(f.file("state.db.gz")))
		},
		"gone, metadata away": func(f *fixture) {
			check(f.t, os.Remove(f.file("state.db")))
			check(f.t, os.Rename(f.file("metadata"), f.file("metadata.rebuilt")))
		},
		"older": func(f *fixture) {
			check(f.t, f.vault.Activate(f.t.Context()))
			restore := f.saved("state.db")
			f.add("late", "later")
			restore()
		},
	}
}

// TestRescueStoppedAtEveryStep checks that the next repair finishes one that was stopped at
// any step. The pool must then be healthy, and have as many volumes as thin devices.
func TestRescueStoppedAtEveryStep(t *testing.T) {
	for name, damage := range lostDatabases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				if !rescueStopped(t, damage, n) {
					t.Logf("%d steps", n-1)
					return
				}
			}
		})
	}
}

func rescueStopped(t *testing.T, damage func(*fixture), n int) (stopped bool) {
	t.Helper()
	f := newFixture(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	f.add("more")
	f.idle()
	check(t, f.vault.Close(ctx))
	damage(f)
	repair := func() error {
		_, err := thinpool.RepairAt(ctx, f.Host(), f.Root, "vault", thinpool.RepairOptions{})
		return err
	}
	f.StopAt(n, thinpooltest.Before)
	result := repair()
	step, stopped := f.Restart()
	if err := repair(); err != nil {
		t.Fatalf("stopped before step %d (%s), which returned %v: the next repair: %v", n, step, result, err)
	}
	pool, err := thinpool.Open(ctx, f.Host(), f.Root, "vault")
	check(t, err)
	defer pool.Close(ctx)
	report, err := pool.Check(ctx)
	if err != nil || len(report.Findings) > 0 {
		t.Fatalf("stopped before step %d (%s): %+v, %v", n, step, report.Findings, err)
	}
	check(t, pool.Activate(ctx))
	volumes, err := pool.Volumes(ctx)
	check(t, err)
	devices := 0
	check(t, pool.ReadMetadata(ctx, func(r *thinpool.Reading) error {
		all, err := metadata.Devices(r, r.Root)
		devices = len(all)
		return err
	}))
	if len(volumes) != devices || devices < 2 {
		t.Fatalf("stopped before step %d (%s): %d volumes, %d thin devices", n, step, len(volumes), devices)
	}
	for _, volume := range volumes {
		if volume.ID != 1 {
			continue
		}
		active, err := pool.ActivateVolume(ctx, volume.Name)
		check(t, err)
		if got, err := f.Kernel.ReadStamp(active.Dev, 0); err != nil || got != 42 {
			t.Fatalf("stopped before step %d (%s): base: got value %d, %v", n, step, got, err)
		}
	}
	for _, name := range []string{"state.db.rebuilding"} {
		if _, err := os.Lstat(f.file(name)); err == nil {
			t.Errorf("%s is left", name)
		}
	}
	return stopped
}

// TestRecoveredSizeIsTheFileSystems checks that a recovered volume has the size in the
// superblock of its file system.
func TestRecoveredSizeIsTheFileSystems(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	f.idle()
	check(t, f.vault.Close(ctx))
	var at uint64
	check(t, f.vault.ReadMetadata(ctx, func(r *thinpool.Reading) error {
		return metadata.Runs(ctx, r, r.Root, 1, func(run metadata.Run) error { at = run.Data; return nil })
	}))
	superblock := make([]byte, 4096)
	copy(superblock, "XFSB")
	binary.BigEndian.PutUint32(superblock[4:], 4096)
	binary.BigEndian.PutUint64(superblock[8:], uint64(48*units.MiB/4096))
	f.write(f.file("data"), int64(at)*int64(64*units.KiB), string(superblock))
	check(t, os.Remove(f.file("state.db")))
	check(t, os.Remove(f.file("state.db.gz")))
	repair, err := thinpool.RepairAt(ctx, f.Host(), f.Root, "vault", thinpool.RepairOptions{})
	check(t, err)
	pool, err := thinpool.Open(ctx, f.Host(), f.Root, "vault")
	check(t, err)
	if volume, err := pool.VolumeStatus(ctx, "recovered-1"); err != nil || volume.Size != 48*units.MiB {
		t.Errorf("got %+v, %v after %+v; want 48M", volume, err, repair)
	}
}

// TestRescueOfDevices checks that a pool whose directory is lost is created again from its
// block devices. Devices that do not match are refused, and nothing is created.
func TestRescueOfDevices(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	options := thinpooltest.SmallPool()
	options.DataDevice, options.MetadataDevice, options.DataSize, options.MetadataSize = f.disk, f.other, 0, 0
	pool, err := thinpool.Create(ctx, f.host, f.Root, "disks", options)
	check(t, err)
	_, err = pool.CreateVolume(ctx, "one", thinpool.VolumeOptions{})
	check(t, err)
	check(t, pool.Deactivate(ctx))
	check(t, pool.Close(ctx))
	check(t, os.RemoveAll(filepath.Join(f.Root, "disks")))
	for name, o := range map[string]thinpool.RepairOptions{
		"no data device":     {MetadataDevice: f.other},
		"exchanged":          {MetadataDevice: f.disk, DataDevice: f.other},
		"not there":          {MetadataDevice: f.other, DataDevice: "/dev/none"},
		"too small for data": {MetadataDevice: f.other, DataDevice: f.other},
	} {
		if _, err := thinpool.RepairAt(ctx, f.host, f.Root, "disks", o); err == nil {
			t.Errorf("%s: got no error", name)
		} else if _, there := os.Stat(filepath.Join(f.Root, "disks", "state.db")); there == nil {
			t.Errorf("%s: got a new database, %v", name, err)
		}
	}
	repair, err := thinpool.RepairAt(ctx, f.host, f.Root, "disks", thinpool.RepairOptions{MetadataDevice: f.other, DataDevice: f.disk})
	check(t, err)
	again, err := thinpool.Open(ctx, f.host, f.Root, "disks")
	check(t, err)
	check(t, again.Activate(ctx))
	if again.UUID() != pool.UUID() {
		t.Errorf("uuid %s, want %s", again.UUID(), pool.UUID())
	}
	if volume, err := again.VolumeStatus(ctx, "recovered-1"); err != nil || volume.ID != 1 {
		t.Errorf("got %+v, %v after %+v", volume, err, repair)
	}
	if _, err := f.Kernel.Info(ctx, dm.ByName("thinctl-disks")); err != nil {
		t.Error(fmt.Errorf("the kernel's pool: %w", err))
	}
	check(t, again.Deactivate(ctx))
}

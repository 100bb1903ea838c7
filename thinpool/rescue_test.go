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
func lostDatabases() map[string]func(s *fixture) {
	return map[string]func(s *fixture){
		"gone":    func(s *fixture) { check(s.t, os.Remove(s.file("state.db"))) },
		"damaged": func(s *fixture) { s.write(s.file("state.db"), 0, string(make([]byte, 16<<10))) },
		"gone, no copy": func(s *fixture) {
			check(s.t, os.Remove(s.file("state.db")))
			check(s.t, os.Remove(s.file("state.db.gz")))
		},
		"damaged, no copy": func(s *fixture) {
			check(s.t, os.Truncate(s.file("state.db"), 4096))
			check(s.t, os.Remove(s.file("state.db.gz")))
		},
		"gone, metadata away": func(s *fixture) {
			check(s.t, os.Remove(s.file("state.db")))
			check(s.t, os.Rename(s.file("metadata"), s.file("metadata.rebuilt")))
		},
		"older": func(s *fixture) {
			check(s.t, s.vault.Activate(s.t.Context()))
			restore := s.saved("state.db")
			s.add("late", "later")
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
	s := newFixture(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.add("more")
	s.idle()
	check(t, s.vault.Close(ctx))
	damage(s)
	repair := func() error {
		_, err := thinpool.RepairAt(ctx, s.Host(), s.Root, "vault", thinpool.RepairOptions{})
		return err
	}
	s.StopAt(n, thinpooltest.Before)
	result := repair()
	step, stopped := s.Restart()
	if err := repair(); err != nil {
		t.Fatalf("stopped before step %d (%s), which returned %v: the next repair: %v", n, step, result, err)
	}
	pool, err := thinpool.Open(ctx, s.Host(), s.Root, "vault")
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
		if got, err := s.Kernel.ReadStamp(active.Dev, 0); err != nil || got != 42 {
			t.Fatalf("stopped before step %d (%s): base: got value %d, %v", n, step, got, err)
		}
	}
	for _, name := range []string{"state.db.rebuilding"} {
		if _, err := os.Lstat(s.file(name)); err == nil {
			t.Errorf("%s is left", name)
		}
	}
	return stopped
}

// TestRecoveredSizeIsTheFileSystems checks that a recovered volume has the size in the
// superblock of its file system.
func TestRecoveredSizeIsTheFileSystems(t *testing.T) {
	s := newFixture(t)
	ctx := t.Context()
	s.idle()
	check(t, s.vault.Close(ctx))
	var at uint64
	check(t, s.vault.ReadMetadata(ctx, func(r *thinpool.Reading) error {
		return metadata.Runs(ctx, r, r.Root, 1, func(run metadata.Run) error { at = run.Data; return nil })
	}))
	superblock := make([]byte, 4096)
	copy(superblock, "XFSB")
	binary.BigEndian.PutUint32(superblock[4:], 4096)
	binary.BigEndian.PutUint64(superblock[8:], uint64(48*units.MiB/4096))
	s.write(s.file("data"), int64(at)*int64(64*units.KiB), string(superblock))
	check(t, os.Remove(s.file("state.db")))
	check(t, os.Remove(s.file("state.db.gz")))
	repair, err := thinpool.RepairAt(ctx, s.Host(), s.Root, "vault", thinpool.RepairOptions{})
	check(t, err)
	pool, err := thinpool.Open(ctx, s.Host(), s.Root, "vault")
	check(t, err)
	if volume, err := pool.VolumeStatus(ctx, "recovered-1"); err != nil || volume.Size != 48*units.MiB {
		t.Errorf("%+v, %v, after %+v; want 48M", volume, err, repair)
	}
}

// TestRescueOfDevices checks that a pool whose directory is lost is created again from its
// block devices. Devices that do not match are refused, and nothing is created.
func TestRescueOfDevices(t *testing.T) {
	s := newFixture(t)
	ctx := t.Context()
	options := thinpooltest.SmallPool()
	options.DataDevice, options.MetadataDevice, options.DataSize, options.MetadataSize = s.disk, s.other, 0, 0
	pool, err := thinpool.Create(ctx, s.host, s.Root, "disks", options)
	check(t, err)
	_, err = pool.CreateVolume(ctx, "one", thinpool.VolumeOptions{})
	check(t, err)
	check(t, pool.Deactivate(ctx))
	check(t, pool.Close(ctx))
	check(t, os.RemoveAll(filepath.Join(s.Root, "disks")))
	for name, o := range map[string]thinpool.RepairOptions{
		"no data device":     {MetadataDevice: s.other},
		"exchanged":          {MetadataDevice: s.disk, DataDevice: s.other},
		"not there":          {MetadataDevice: s.other, DataDevice: "/dev/none"},
		"too small for data": {MetadataDevice: s.other, DataDevice: s.other},
	} {
		if _, err := thinpool.RepairAt(ctx, s.host, s.Root, "disks", o); err == nil {
			t.Errorf("%s: accepted", name)
		} else if _, there := os.Stat(filepath.Join(s.Root, "disks", "state.db")); there == nil {
			t.Errorf("%s: a database was made; %v", name, err)
		}
	}
	repair, err := thinpool.RepairAt(ctx, s.host, s.Root, "disks", thinpool.RepairOptions{MetadataDevice: s.other, DataDevice: s.disk})
	check(t, err)
	again, err := thinpool.Open(ctx, s.host, s.Root, "disks")
	check(t, err)
	check(t, again.Activate(ctx))
	if again.UUID() != pool.UUID() {
		t.Errorf("uuid %s, want %s", again.UUID(), pool.UUID())
	}
	if volume, err := again.VolumeStatus(ctx, "recovered-1"); err != nil || volume.ID != 1 {
		t.Errorf("%+v, %v after %+v", volume, err, repair)
	}
	if _, err := s.Kernel.Info(ctx, dm.ByName("thinctl-disks")); err != nil {
		t.Error(fmt.Errorf("the kernel's pool: %w", err))
	}
	check(t, again.Deactivate(ctx))
}

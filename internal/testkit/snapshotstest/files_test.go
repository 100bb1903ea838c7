package snapshotstest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"thinctl/fault"
	"thinctl/internal/testkit/snapshotstest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Only data that were saved and flushed survive a power cut. A snapshot has only the data
// that were written before it.
func TestFilesFollowTheirVolumes(t *testing.T) {
	f := snapshotstest.New(t)
	ctx := t.Context()
	pool, err := thinpool.Create(ctx, f.Host(), f.Root, "p", thinpooltest.SmallPool())
	must(t, err)
	_, err = pool.CreateVolume(ctx, "one", thinpool.VolumeOptions{})
	must(t, err)
	node := activate(ctx, t, pool, "one")
	must(t, f.Files.Format(ctx, node, filesystem.FormatOptions{Type: filesystem.Ext4}))
	if err := f.Files.Format(ctx, node, filesystem.FormatOptions{}); !errors.Is(err, filesystem.ErrSignature) {
		t.Errorf("second format: got error %v, want %v", err, filesystem.ErrSignature)
	}
	at := filepath.Join(t.TempDir(), "one")
	must(t, f.Files.Mount(ctx, node, at, filesystem.MountOptions{MakeTarget: true}))
	if err := f.Files.Mount(ctx, node, at+"2", filesystem.MountOptions{MakeTarget: true, ReadOnly: true}); !errors.Is(err,
		fault.Busy) {
		t.Errorf("second mount: got error %v, want %v", err, fault.Busy)
	}
	write := func(name string) { must(t, os.WriteFile(filepath.Join(at, name), []byte(name), 0o600)) }
	write("synced")
	must(t, f.Files.Sync(ctx, at))
	write("frozen")
	_, err = pool.Snapshot(ctx, "one", "two", thinpool.SnapshotOptions{})
	must(t, err)
	write("lost")
	if err := pool.DeactivateVolume(ctx, "one"); !errors.Is(err, fault.Busy) {
		t.Errorf("deactivate a mounted volume: got error %v, want %v", err, fault.Busy)
	}
	f.PowerOff(t)
	must(t, pool.Activate(ctx))
	for _, volume := range []string{"one", "two"} {
		must(t, f.Files.Mount(ctx, activate(ctx, t, pool, volume), at, filesystem.MountOptions{}))
		for name, want := range map[string]bool{"synced": true, "frozen": true, "lost": false, "lost+found": true} {
			if _, err := os.Stat(filepath.Join(at, name)); (err == nil) != want {
				t.Errorf("file %s of volume %s: got error %v, want it present: %t", name, volume, err, want)
			}
		}
		must(t, f.Files.Unmount(ctx, at, filesystem.UnmountOptions{}))
	}
}

func activate(ctx context.Context, t *testing.T, pool *thinpool.Pool, name string) string {
	t.Helper()
	volume, err := pool.ActivateVolume(ctx, name)
	must(t, err)
	return volume.Node
}

//go:build kernel

package drills

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/dm"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata/metadatatest"
	"thinctl/units"
)

// fillWithVolumes makes volumes until fewer metadata blocks are free, or the pool
// takes none any more. Each takes the root of its mappings.
func fillWithVolumes(t *testing.T, name string, free uint64) {
	t.Helper()
	pool := open(t, name)
	defer pool.Close(testContext(t))
	for n := 0; ; n++ {
		if n%8 == 0 {
			s, err := pool.Status(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			if s.Kernel.FreeMetadata() < free {
				t.Logf("%d volumes, %d of %d metadata blocks used", n, s.Kernel.UsedMetadata, s.Kernel.TotalMetadata)
				return
			}
		}
		if _, err := pool.CreateVolume(testContext(t), fmt.Sprint("v", n), thinpool.VolumeOptions{}); err != nil {
			t.Logf("after %d volumes: %v", n, err)
			return
		}
	}
}

func metadataLow(t *testing.T) Drill {
	pool := newPool(t, "metalow", "--data-size 64M --metadata-size 2M")
	fillWithVolumes(t, pool, 0)
	refused(t, pool)
	return Drill{Runbook: "metadata-low", Vars: map[string]string{"POOL": pool, "MORE_METADATA": "2M"}}
}

func scanStale(t *testing.T) Drill {
	pool := newPool(t, "unscanned", "--data-size 64M --metadata-size 2M --reserve-metadata 0")
	fillWithVolumes(t, pool, 30)
	return Drill{Runbook: "scan-stale", Vars: map[string]string{"POOL": pool, "MORE_METADATA": "2M"}}
}

func metadataFullByVolumes(t *testing.T) Drill {
	pool := newPool(t, "metafull", "--data-size 64M --metadata-size 2M --reserve-metadata 0")
	mounted(t, pool, "web", "32M")
	fillWithVolumes(t, pool, 0)
	upset(t, pool, dm.ModeReadOnly)
	return metadataFull(t, pool)
}

// metadataFullBySnapshots breaks a leaf of the mapping tree with each write, since
// the leaves are shared with snapshots.
func metadataFullBySnapshots(t *testing.T) Drill {
	const leaves, apart = 16, 252
	pool := newPool(t, "metafull", "--data-size 512M --metadata-size 2M --base-size 512M --no-zeroing --reserve-metadata 0 --reserve-data 0")
	mounted(t, pool, "web", "32M")
	thinctl(t, "volume create "+pool+" base")
	thinctl(t, "volume activate "+pool+" base")
	if err := scatter(t, pool, "base", 0, leaves*apart, 1); err != nil {
		t.Fatal(err)
	}
	handle := open(t, pool)
	defer handle.Close(testContext(t))
	for round := range apart {
		if _, err := handle.Snapshot(testContext(t), "base", fmt.Sprint("s", round), thinpool.SnapshotOptions{}); err != nil {
			t.Logf("snapshot %d: %v", round, err)
			break
		}
		if err := scatter(t, pool, "base", round, leaves*apart, apart); err != nil {
			t.Logf("writing, round %d: %v", round, err)
			break
		}
	}
	thinctl(t, "volume deactivate "+pool+" base")
	return metadataFull(t, pool)
}

// scatter writes 4K into each so many'th block of 64K.
func scatter(t *testing.T, pool, volume string, first, end, apart int) error {
	t.Helper()
	file, err := os.OpenFile(node(pool, volume), os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(page) }()
	for block := first; block < end; block += apart {
		if _, err := file.WriteAt(page, int64(block)<<16); err != nil {
			return err
		}
	}
	return file.Sync()
}

func metadataFull(t *testing.T, pool string) Drill {
	t.Helper()
	s := status(t, pool)
	t.Logf("mode %s, needs_check %v, %d of %d metadata blocks", s.Kernel.Mode, s.Kernel.NeedsCheck, s.Kernel.UsedMetadata, s.Kernel.TotalMetadata)
	drill := Drill{Runbook: "metadata-full", Cases: []string{"In any case"}, Vars: map[string]string{"POOL": pool, "MORE_METADATA": "4M", "VOLUME": "web"}}
	if s.Kernel.NeedsCheck {
		drill.Cases = append(drill.Cases, "Needs Check says yes")
	}
	return drill
}

// onDisk is a pool whose metadata stands on a disk that can fail, with a mounted
// volume.
func onDisk(t *testing.T, name string) (diskUnder, string) {
	t.Helper()
	disk := newDiskUnder(t, "meta-"+name, 8*units.MiB)
	pool := newPool(t, name, "--data-device "+blockDevice(t, 64*units.MiB)+" --metadata-device "+disk.node())
	dir := mounted(t, pool, "web", "32M")
	run(t, "cp", "/bin/true", dir)
	run(t, "sync", "-f", dir)
	return disk, pool
}

// upset writes until the pool takes no more.
func upset(t *testing.T, pool string, mode dm.Mode) {
	t.Helper()
	_, err := tried(t, "dd", "if=/dev/urandom", "of="+root+"/"+pool+"/mnt/web/upset", "bs=1M", "count=8", "conv=fsync")
	t.Logf("writing: %v", err)
	await(t, "no longer writing", func() bool { return status(t, pool).Kernel.Mode >= mode })
}

func needsCheck(t *testing.T) Drill {
	disk, pool := onDisk(t, "unchecked")
	disk.refusesWrites()
	upset(t, pool, dm.ModeReadOnly)
	disk.recovers()
	return Drill{Runbook: "needs-check", Vars: map[string]string{"POOL": pool, "VOLUME": "web"}}
}

func poolReadOnly(t *testing.T) Drill {
	disk, pool := onDisk(t, "readonly")
	disk.refusesWrites()
	upset(t, pool, dm.ModeReadOnly)
	disk.recovers()
	return Drill{Runbook: "pool-read-only", Vars: map[string]string{"POOL": pool, "VOLUME": "web"}}
}

// The disk under the metadata fails, and comes back with a bitmap damaged.
func poolFailed(t *testing.T) Drill {
	disk, pool := onDisk(t, "failed")
	disk.fails()
	upset(t, pool, dm.ModeFail)
	disk.recovers()
	file, err := os.OpenFile(disk.node(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	damage(t, file, "checksum/metadata bitmap")
	return Drill{Runbook: "pool-failed", Vars: map[string]string{"POOL": pool, "VOLUME": "web"}}
}

// damage applies the damage of that name to metadata that nobody uses.
func damage(t *testing.T, file *os.File, name string) {
	t.Helper()
	var names []string
	for _, d := range metadatatest.Damages() {
		names = append(names, d.Name)
		if d.Name != name {
			continue
		}
		block, ok, err := d.Apply(file, 1)
		if err := errors.Join(err, file.Sync()); err != nil || !ok {
			t.Fatalf("%s: block %d, done %v: %v", name, block, ok, err)
		}
		return
	}
	t.Fatalf("no damage %q: %q", name, names)
}

func leak(t *testing.T) Drill {
	pool := newPool(t, "leaky", "--data-size 64M --metadata-size 4M")
	mounted(t, pool, "web", "32M")
	thinctl(t, "volume unmount "+pool+" web")
	thinctl(t, "pool deactivate "+pool)
	file, err := os.OpenFile(root+"/"+pool+"/metadata", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	damage(t, file, "leak/data")
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	thinctl(t, "pool activate "+pool)
	thinctl(t, "volume mount "+pool+" web")
	return Drill{Runbook: "leak", Vars: map[string]string{"POOL": pool, "VOLUME": "web"}}
}

func heldRoot(t *testing.T) Drill {
	pool := newPool(t, "held-up", "--data-size 64M --metadata-size 4M")
	mounted(t, pool, "web", "32M")
	run(t, "dmsetup", "message", "thinctl-held--up", "0", "reserve_metadata_snap")
	return Drill{Runbook: "held-root", Vars: map[string]string{"POOL": pool}, Read: map[string]string{"METADATA": status(t, pool).Metadata.Loop}}
}

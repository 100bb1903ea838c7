//go:build kernel

package drills

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"thinctl/dm"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata/metadatatest"
	"thinctl/units"
)

// crowded is a pool with little metadata that several drills share, since filling
// it takes time. Each finds it with more than it needs, and fills it up.
type crowded struct {
	owner *testing.T // at whose end it goes
	made  bool
}

const crowd = "crowded"

func (c *crowded) pool(t *testing.T) string {
	t.Helper()
	if !c.made {
		thinctl(t, "pool create "+crowd+" --data-size 64M --metadata-size 2M")
		c.owner.Cleanup(func() { destroy(c.owner, crowd) })
		c.made = true
	}
	return crowd
}

// fill makes volumes until fewer metadata blocks are free, or the pool takes none
// any more. Each takes the root of its mappings.
func (c *crowded) fill(t *testing.T, free uint64) {
	t.Helper()
	pool := open(t, crowd)
	defer pool.Close(testContext(t))
	ctx := testContext(t)
	s, err := pool.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first := s.Volumes
	for n := first; s.Kernel.FreeMetadata() >= free; n++ {
		if _, err := pool.CreateVolume(ctx, fmt.Sprint("v", n), thinpool.VolumeOptions{}); err != nil {
			t.Logf("after %d volumes: %v", n-first, err)
			return
		}
		if s, err = pool.Status(ctx); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d metadata blocks are used", s.Kernel.UsedMetadata, s.Kernel.TotalMetadata)
}

func (c *crowded) metadataFull(t *testing.T) Drill {
	pool := c.pool(t)
	mounted(t, pool, "web", "32M")
	thinctl(t, "pool set "+pool+" --reserve-metadata 0")
	c.fill(t, 0)
	upset(t, pool, dm.ModeReadOnly)
	s := status(t, pool)
	t.Logf("mode %s, needs_check %v, %d of %d metadata blocks", s.Kernel.Mode, s.Kernel.NeedsCheck, s.Kernel.UsedMetadata, s.Kernel.TotalMetadata)
	return Drill{Runbook: "metadata-full", Vars: map[string]string{"POOL": pool, "MORE_METADATA": "256K"}}
}

func (c *crowded) metadataLow(t *testing.T) Drill {
	pool := c.pool(t)
	thinctl(t, "pool set "+pool+" --reserve-metadata 10")
	c.fill(t, 0)
	refused(t, pool)
	return Drill{Runbook: "metadata-low", Vars: map[string]string{"POOL": pool, "MORE_METADATA": "256K"}}
}

func (c *crowded) scanStale(t *testing.T) Drill {
	pool := c.pool(t)
	thinctl(t, "pool set "+pool+" --reserve-metadata 0")
	c.fill(t, 30)
	return Drill{Runbook: "scan-stale", Vars: map[string]string{"POOL": pool, "MORE_METADATA": "256K"}}
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
	_, err := tried(t, "dd", "if=/dev/zero", "of="+root+"/"+pool+"/mnt/web/upset", "bs=1M", "count=8", "conv=fsync")
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

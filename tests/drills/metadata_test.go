//go:build kernel

package drills

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"thinctl/dm"
	"thinctl/internal/testkit/metadatatest"
	"thinctl/thinpool"
	"thinctl/units"
)

// crowded is a pool with little metadata that several drills share. Each drill finds more
// free metadata than it needs, and fills it.
type crowded struct {
	owner *testing.T // the pool is removed at its end
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

// fill makes the pool count metadata blocks as used until so many are free. An active pool
// keeps its own space maps, so nothing else is wrong with it.
func (c *crowded) fill(t *testing.T, free uint64) {
	t.Helper()
	has := status(t, crowd).Kernel.FreeMetadata()
	thinctl(t, "pool deactivate "+crowd)
	file, err := os.OpenFile(filepath.Join(root, crowd, "metadata"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for seed := free; seed < has; seed++ {
		damage(t, file, "leak/metadata", seed)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
	thinctl(t, "pool activate "+crowd)
	s := status(t, crowd).Kernel
	t.Logf("%d of %d metadata blocks are used, were %d", s.UsedMetadata, s.TotalMetadata, s.TotalMetadata-has)
}

// exhaust makes volumes until the pool refuses them.
func (c *crowded) exhaust(t *testing.T) {
	t.Helper()
	pool := open(t, crowd)
	defer pool.Close(testContext(t))
	ctx := testContext(t)
	for n := range 100 {
		if _, err := pool.CreateVolume(ctx, fmt.Sprint("v", n), thinpool.VolumeOptions{}); err != nil {
			t.Logf("after %d volumes: %v", n, err)
			return
		}
	}
	t.Fatal("the metadata does not fill")
}

func (c *crowded) metadataFull(t *testing.T) Drill {
	pool := c.pool(t)
	c.fill(t, 40)
	thinctl(t, "pool set "+pool+" --reserve-metadata 0")
	mounted(t, pool, "web", "32M")
	t.Cleanup(func() { thinctl(t, "volume unmount "+pool+" web") })
	c.exhaust(t)
	upset(t, pool, dm.ModeReadOnly)
	s := status(t, pool)
	t.Logf("mode %s, needs_check %v, %d of %d metadata blocks", s.Kernel.Mode, s.Kernel.NeedsCheck, s.Kernel.UsedMetadata,
		s.Kernel.TotalMetadata)
	return Drill{Runbook: "metadata-full", Vars: map[string]string{"POOL": pool, "MORE_METADATA": "256K"}}
}

func (c *crowded) metadataLow(t *testing.T) Drill {
	pool := c.pool(t)
	c.fill(t, 50)
	thinctl(t, "pool set "+pool+" --reserve-metadata 10")
	refused(t, pool)
	return Drill{Runbook: "metadata-low", Vars: map[string]string{"POOL": pool, "MORE_METADATA": "256K"}}
}

func (c *crowded) scanStale(t *testing.T) Drill {
	pool := c.pool(t)
	c.fill(t, 30)
	return Drill{Runbook: "scan-stale", Vars: map[string]string{"POOL": pool, "MORE_METADATA": "256K"}}
}

// onDisk is a pool whose metadata are on a disk that can fail, with a mounted volume.
func onDisk(t *testing.T, name string) (diskUnder, string) {
	t.Helper()
	disk := newDiskUnder(t, "meta-"+name, 8*units.MiB)
	pool := newPool(t, name, "--data-device "+blockDevice(t, 64*units.MiB)+" --metadata-device "+disk.node())
	dir := mounted(t, pool, "web", "32M")
	run(t, "cp", "/bin/true", dir)
	run(t, "sync", "-f", dir)
	return disk, pool
}

// upset writes until the pool refuses writes.
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

// The disk below the metadata fails, and works again with a damaged bitmap.
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
	damage(t, file, "checksum/metadata bitmap", 1)
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
	return Drill{Runbook: "pool-failed", Vars: map[string]string{"POOL": pool, "VOLUME": "web"}}
}

// damage applies the damage of that name to unused metadata.
func damage(t *testing.T, file *os.File, name string, seed uint64) {
	t.Helper()
	var names []string
	for _, d := range metadatatest.Damages() {
		names = append(names, d.Name)
		if d.Name != name {
			continue
		}
		block, ok, err := d.Apply(file, seed)
		if err != nil || !ok {
			t.Fatalf("%s: got block %d, done %v: %v", name, block, ok, err)
		}
		return
	}
	t.Fatalf("damage %q: not one of %q", name, names)
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
	damage(t, file, "leak/data", 1)
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
	return Drill{Runbook: "held-root", Vars: map[string]string{"POOL": pool},
		Read: map[string]string{"METADATA": status(t, pool).Metadata.Loop}}
}

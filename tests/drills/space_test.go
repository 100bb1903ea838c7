//go:build kernel

package drills

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/dm"
	"thinctl/units"
)

func extendLoopPool(t *testing.T) Drill {
	pool := newPool(t, "loop", "--data-size 256M --metadata-size 4M")
	mounted(t, pool, "web", "64M")
	return Drill{Runbook: "extend-loop-pool", Cases: []string{"Metadata only"},
		Vars: map[string]string{"POOL": pool, "MORE": "1G", "MORE_METADATA": "16M"}}
}

// lvmConfig makes LVM work without udev, and read one disk only.
const lvmConfig = `activation { udev_sync=0 udev_rules=0 monitoring=0 }
backup { backup=0 archive=0 }
devices { use_devicesfile=0 filter=["a|^DISK$|","r|.*|"] scan=["/dev"] obtain_device_list_from_udev=0 }
global { event_activation=0 use_lvmpolld=0 }
`

func extendDevicePool(t *testing.T) Drill {
	disk := blockDevice(t, 512*units.MiB)
	config := t.TempDir()
	text := strings.ReplaceAll(lvmConfig, "DISK", disk)
	if err := os.WriteFile(filepath.Join(config, "lvm.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LVM_SYSTEM_DIR", config)
	run(t, "vgcreate", "drills", disk)
	run(t, "lvcreate", "--yes", "--size", "128M", "--name", "data", "drills")
	t.Cleanup(func() { run(t, "vgremove", "--force", "--yes", "drills") })
	pool := newPool(t, "disks", "--data-device /dev/drills/data --metadata-device "+blockDevice(t, 8*units.MiB))
	mounted(t, pool, "web", "64M")
	return Drill{Runbook: "extend-device-pool", Cases: []string{"The device is a logical volume", "All devices"},
		Vars: map[string]string{"POOL": pool, "MORE": "128M"}, Read: map[string]string{"DISK": "/dev/drills/data"}}
}

// nearlyFull makes a pool of 16M with 1M left.
func nearlyFull(t *testing.T, name string) string {
	pool := newPool(t, name, "--data-size 16M --metadata-size 4M")
	written(t, pool, "old", 6)
	written(t, pool, "more", 9)
	refused(t, pool)
	return pool
}

// refused checks that the pool is below a reserve.
func refused(t *testing.T, pool string) {
	t.Helper()
	out, err := exec.Command("thinctl", "volume", "create", pool, "new").CombinedOutput()
	if err == nil {
		t.Fatalf("the pool accepts new volumes: %s", out)
	}
	t.Logf("%s", out)
}

func dataLow(t *testing.T) Drill {
	return Drill{Runbook: "data-low", Cases: []string{"The host or the disk has space", "A volume can be removed"},
		Vars: map[string]string{"POOL": nearlyFull(t, "low"), "MORE": "64M", "VOLUME": "old"}}
}

func atMaximum(t *testing.T) Drill {
	return Drill{Runbook: "at-maximum",
		Cases: []string{"A volume can be removed", "The pool may have more data", "The pool may have more metadata"},
		Vars:  map[string]string{"POOL": nearlyFull(t, "maximum"), "MORE": "64M", "MORE_METADATA": "4M", "VOLUME": "old"}}
}

// Writes wait in the full pool, and go on once it is extended: none fails.
func dataFullWithSpace(t *testing.T) Drill {
	pool := newPool(t, "full", "--data-size 24M --metadata-size 4M --full queue")
	dir := mounted(t, pool, "web", "64M")
	writing := exec.Command("dd", "if=/dev/zero", "of="+filepath.Join(dir, "file"), "bs=1M", "count=40", "conv=fsync")
	if err := writing.Start(); err != nil {
		t.Fatal(err)
	}
	outOfSpace(t, pool)
	t.Cleanup(func() {
		if err := writing.Wait(); err != nil {
			t.Errorf("a write that waited: %v", err)
		}
	})
	return Drill{Runbook: "data-full", Cases: []string{"The host or the disk has space", "Afterwards"},
		Vars: map[string]string{"POOL": pool, "MORE": "256M"}}
}

func outOfSpace(t *testing.T, pool string) {
	t.Helper()
	await(t, "out of data space", func() bool { return status(t, pool).Kernel.Mode == dm.ModeOutOfDataSpace })
}

func dataFullWithoutSpace(t *testing.T) Drill {
	pool := newPool(t, "full", "--data-size 16M --metadata-size 4M --full error")
	written(t, pool, "old", 8)
	thinctl(t, "volume create "+pool+" greedy --size 32M")
	thinctl(t, "volume activate "+pool+" greedy")
	if _, err := tried(t, "dd", "if=/dev/zero", "of="+node(pool, "greedy"), "bs=1M", "count=16",
		"oflag=direct"); err == nil {
		t.Fatal("the pool does not fill")
	}
	outOfSpace(t, pool)
	return Drill{Runbook: "data-full", Cases: []string{"The host or the disk has no space", "Afterwards"},
		Vars: map[string]string{"POOL": pool, "VOLUME": "old"}}
}

func hostLow(t *testing.T) Drill {
	smallHost(t, 64*units.MiB)
	pool := newPool(t, "hosted", "--data-size 256M --metadata-size 4M")
	written(t, pool, "old", 16)
	ballast(t, 2)
	refused(t, pool)
	return Drill{Runbook: "host-low", Cases: []string{"The pool uses the space"},
		Vars: map[string]string{"POOL": pool, "VOLUME": "old"}}
}

// ballast leaves so many MiB of the file system below the pools.
func ballast(t *testing.T, mebibytes uint64) {
	t.Helper()
	var space unix.Statfs_t
	if err := unix.Statfs(root, &space); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "ballast")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Fallocate(int(file.Fd()), 0, 0, int64(space.Bavail)*space.Bsize-int64(mebibytes<<20)); err != nil {
		t.Fatal(err)
	}
}

func hostFull(t *testing.T) Drill {
	smallHost(t, 64*units.MiB)
	pool := newPool(t, "hosted", "--data-size 256M --metadata-size 4M")
	dir := mounted(t, pool, "web", "32M")
	written(t, pool, "old", 24)
	ballast(t, 4)
	// The page cache takes the data; the disk does not.
	if out, err := tried(t, "dd", "if=/dev/zero", "of="+filepath.Join(dir, "file"), "bs=1M", "count=20",
		"conv=fsync"); err == nil {
		t.Fatalf("the host is not full: %s", out)
	}
	return Drill{Runbook: "host-full", Vars: map[string]string{"POOL": pool, "VOLUME": "old"}}
}

func extendFailed(t *testing.T) Drill {
	smallHost(t, 64*units.MiB)
	pool := newPool(t, "hosted", "--data-size 256M --metadata-size 4M")
	written(t, pool, "old", 24)
	ballast(t, 4)
	return Drill{Runbook: "extend-failed", Vars: map[string]string{"POOL": pool, "MORE": "20G", "VOLUME": "old"}}
}

//go:build kernel

package drills

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/units"
)

func poolInactive(t *testing.T) Drill {
	pool := newPool(t, "asleep", "--data-size 64M --metadata-size 4M")
	crash(t, pool)
	return Drill{Runbook: "pool-inactive", Vars: map[string]string{"POOL": pool}}
}

// After a reboot the file system of the pools was not mounted.
func poolGone(t *testing.T) Drill {
	fstab(t)
	disk := smallHost(t, 128*units.MiB)
	addLine(t, "/etc/fstab", disk+" "+root+" ext4 defaults 0 2\n")
	pool := newPool(t, "gone", "--data-size 64M --metadata-size 4M")
	crash(t, pool)
	unmount(t, root)
	return Drill{Runbook: "pool-gone", Vars: map[string]string{"POOL": pool},
		Cases: []string{"The file system is not mounted", "The directory is there again"}}
}

// fstab restores /etc/fstab.
func fstab(t *testing.T) {
	t.Helper()
	before, err := os.ReadFile("/etc/fstab")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile("/etc/fstab", before, 0o644); err != nil {
			t.Error(err)
		}
	})
}

func addLine(t *testing.T, path, line string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(line); err != nil {
		t.Fatal(err)
	}
}

// holder starts a program that holds a file or a mount, and returns its process id.
func holder(t *testing.T, name string, args ...string) string {
	t.Helper()
	program := exec.Command(name, args...)
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- program.Wait() }()
	t.Cleanup(func() {
		_ = program.Process.Kill()
		<-ended
	})
	return fmt.Sprint(program.Process.Pid)
}

func sampleStale(t *testing.T) Drill {
	pool := newPool(t, "stale", "--data-size 64M --metadata-size 4M")
	database := filepath.Join(root, pool, "state.db")
	pid := holder(t, "flock", "--no-fork", database, "sleep", "600")
	await(t, "the lock", func() bool {
		out, err := exec.Command("lslocks", "--output", "PID").CombinedOutput()
		return err == nil && strings.Contains(string(out), pid)
	})
	return Drill{Runbook: "sample-stale", Vars: map[string]string{"POOL": pool}, Read: map[string]string{"HOLDER": pid}}
}

// The mount exists in another mount namespace when the volume is removed. It is outside the
// pool's directory: inside, it would vanish with its mount point, which thinctl removes.
func removalWaiting(t *testing.T) Drill {
	pool := newPool(t, "waiting", "--data-size 64M --metadata-size 4M")
	thinctl(t, "volume create "+pool+" web --fs ext4 --size 32M")
	dir := t.TempDir()
	thinctl(t, "volume mount "+pool+" web "+dir)
	pid := holder(t, "unshare", "--mount", "--propagation", "private", "sleep", "600")
	await(t, "the other namespace", func() bool {
		mounts, err := os.ReadFile("/proc/" + pid + "/mounts")
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		return err == nil && string(name) == "sleep\n" && strings.Contains(string(mounts), dir)
	})
	thinctl(t, "volume unmount "+pool+" web")
	thinctl(t, "volume remove "+pool+" web --deferred --yes")
	return Drill{Runbook: "removal-waiting", Vars: map[string]string{"POOL": pool}, Read: map[string]string{"HOLDER": pid}}
}

func replaceLVM(t *testing.T) Drill {
	t.Cleanup(func() { destroy(t, "vault") })
	return Drill{Runbook: "replace-lvm-thin", Vars: map[string]string{"POOL": "vault"}}
}

func movePoolDirectory(t *testing.T) Drill {
	fstab(t)
	thinctl(t, "pool create moved --data-size 64M --metadata-size 4M")
	dir := mounted(t, "moved", "web", "32M")
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("still there"), 0o600); err != nil {
		t.Fatal(err)
	}
	disk, fresh := blockDevice(t, 256*units.MiB), t.TempDir()
	run(t, "mkfs.ext4", "-q", disk)
	run(t, "mount", disk, fresh)
	t.Cleanup(func() {
		if text, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(text) != "still there" {
			t.Errorf("file in the volume: got %q, %v", text, err)
		}
		destroy(t, "moved")
		unmount(t, root)
		run(t, "rm", "-r", filepath.Join(root, "moved"))
	})
	return Drill{Runbook: "move-pool-directory", Cases: []string{"The new file system replaces the old one", "Afterwards"},
		Vars: map[string]string{"POOL": "moved", "VOLUME": "web", "NEW": fresh, "DISK": disk}}
}

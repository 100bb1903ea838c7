//go:build kernel

package drills

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/dm"
	"thinctl/loopback"
	"thinctl/thinpool"
	"thinctl/units"
)

const root = thinpool.Root

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := tried(t, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tried(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func thinctl(t *testing.T, line string) string {
	t.Helper()
	return run(t, "thinctl", strings.Fields(line)...)
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func realHost(t *testing.T) thinpool.Host {
	t.Helper()
	kernel, err := dm.Open(dm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kernel.Close() })
	loops := loopback.New(loopback.Options{})
	t.Cleanup(func() { loops.Close() })
	return thinpool.Host{Kernel: kernel, Loops: loops, Disks: thinpool.LocalDisks{}}
}

// newPool makes a pool in the directory that runbooks use. At the end nothing of it may be
// left.
func newPool(t *testing.T, name, flags string) string {
	t.Helper()
	thinctl(t, "pool create "+name+" "+flags)
	t.Cleanup(func() { destroy(t, name) })
	return name
}

func destroy(t *testing.T, name string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if words := strings.Fields(line); strings.HasPrefix(words[1], filepath.Join(root, name, "mnt")+"/") {
			if err := unix.Unmount(words[1], 0); err != nil {
				t.Errorf("unmounting %s: %v", words[1], err)
			}
		}
	}
	if _, err := tried(t, "thinctl", "pool", "destroy", name, "--yes"); err != nil {
		t.Error(err)
	}
	if out := run(t, "dmsetup", "ls"); strings.Contains(out, "thinctl-"+name) {
		t.Errorf("got devices %s, want none", out)
	}
}

// status returns the pool's status from the library.
func status(t *testing.T, name string) thinpool.Status {
	t.Helper()
	pool := open(t, name)
	status, err := pool.Status(testContext(t))
	if err := errors.Join(err, pool.Close(testContext(t))); err != nil {
		t.Fatal(err)
	}
	return status
}

// open opens a pool. Until it is closed its directory cannot be unmounted.
func open(t *testing.T, name string) *thinpool.Pool {
	t.Helper()
	pool, err := thinpool.Open(testContext(t), realHost(t), root, name)
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// mounted makes a volume with a file system and mounts it.
func mounted(t *testing.T, pool, name, size string) string {
	t.Helper()
	thinctl(t, "volume create "+pool+" "+name+" --fs ext4 --size "+size)
	return strings.TrimSpace(thinctl(t, "volume mount "+pool+" "+name))
}

// written makes a volume that uses so many MiB.
func written(t *testing.T, pool, name string, mebibytes int) {
	t.Helper()
	thinctl(t, fmt.Sprintf("volume create %s %s --size %dM", pool, name, mebibytes))
	thinctl(t, "volume activate "+pool+" "+name)
	run(t, "dd", "if=/dev/zero", "of="+node(pool, name), "bs=1M", fmt.Sprint("count=", mebibytes), "oflag=direct",
		"conv=fsync")
	thinctl(t, "volume deactivate "+pool+" "+name)
}

func node(pool, volume string) string { return "/dev/mapper/thinctl-" + pool + "-" + volume }

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: did not happen in time", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// sparse makes a file of that size on the disk below the pools.
func sparse(t *testing.T, size units.Bytes) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := loopback.CreateSparse(path, size, loopback.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// blockDevice returns a loop device in place of a disk.
func blockDevice(t *testing.T, size units.Bytes) string {
	t.Helper()
	device := strings.TrimSpace(run(t, "losetup", "--find", "--show", sparse(t, size)))
	t.Cleanup(func() { run(t, "losetup", "--detach", device) })
	return device
}

// smallHost mounts a small file system at the pools' directory.
func smallHost(t *testing.T, size units.Bytes) (device string) {
	t.Helper()
	device = blockDevice(t, size)
	run(t, "mkfs.ext4", "-q", "-m", "0", device)
	run(t, "mount", device, root)
	t.Cleanup(func() { unmount(t, root) })
	return device
}

func unmount(t *testing.T, dir string) {
	t.Helper()
	var err error
	await(t, "unmounting "+dir, func() bool {
		err = unix.Unmount(dir, 0)
		return !errors.Is(err, unix.EBUSY)
	})
	if err != nil {
		t.Errorf("unmounting %s: %v", dir, err)
	}
}

// crash removes from the kernel what a reboot removes: the pool's devices and loop devices.
// The pool is not informed.
func crash(t *testing.T, name string) {
	t.Helper()
	s := status(t, name)
	for _, device := range strings.Fields(run(t, "dmsetup", "ls")) {
		if strings.HasPrefix(device, "thinctl-"+name+"-") {
			run(t, "dmsetup", "remove", device)
		}
	}
	run(t, "dmsetup", "remove", "thinctl-"+name)
	for _, loop := range []string{s.Data.Loop, s.Metadata.Loop} {
		if loop != "" {
			run(t, "losetup", "--detach", loop)
		}
	}
}

// diskUnder is a device mapper device over a disk, which can be made to fail.
type diskUnder struct {
	t     *testing.T
	name  string
	sound string
}

func newDiskUnder(t *testing.T, name string, size units.Bytes) diskUnder {
	t.Helper()
	d := diskUnder{t, name, fmt.Sprintf("0 %d linear %s 0", size.Sectors(), blockDevice(t, size))}
	run(t, "dmsetup", "create", name, "--table", d.sound)
	t.Cleanup(func() { run(t, "dmsetup", "remove", name) })
	return d
}

func (d diskUnder) node() string { return "/dev/mapper/" + d.name }

// become swaps the device's table while it is in use.
func (d diskUnder) become(table string) {
	d.t.Helper()
	run(d.t, "dmsetup", "load", d.name, "--table", table)
	run(d.t, "dmsetup", "suspend", "--noflush", "--nolockfs", d.name)
	run(d.t, "dmsetup", "resume", d.name)
}

// fails makes reads and writes fail, refusesWrites only writes.
func (d diskUnder) fails() {
	d.become(strings.Join(append(strings.Fields(d.sound)[:2], "error"), " "))
}

func (d diskUnder) refusesWrites() {
	words := strings.Fields(d.sound)
	d.become(fmt.Sprintf("0 %s flakey %s 0 0 3600 1 error_writes", words[1], words[3]))
}

func (d diskUnder) recovers() { d.become(d.sound) }

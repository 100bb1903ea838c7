//go:build kernel

// Package integration tests pools and volumes on a real kernel: in the lab's guest, as
// root. `make test` runs it.
package integration

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"thinctl/dm"
	"thinctl/loopback"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// small returns options of a pool that a test can fill.
func small() thinpool.CreateOptions {
	return thinpool.CreateOptions{DataSize: 256 * units.MiB, MetadataSize: 8 * units.MiB, BaseSize: units.GiB}
}

func realHost(t *testing.T) thinpool.Host {
	t.Helper()
	kernel, err := dm.Open(dm.Options{})
	if err != nil {
		t.Fatalf("these tests need a kernel with device mapper, as root; `make test` brings one: %v", err)
	}
	t.Cleanup(func() { kernel.Close() })
	loops := loopback.New(loopback.Options{})
	t.Cleanup(func() { loops.Close() })
	return thinpool.Host{Kernel: kernel, Loops: loops, Disks: thinpool.LocalDisks{},
		Holders: snapshots.Holders(filesystem.Local{})}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// newPool makes a pool that is checked by thin_check and destroyed at the end of the test.
func newPool(t *testing.T, options thinpool.CreateOptions) *thinpool.Pool {
	t.Helper()
	return newPoolUnder(t, t.TempDir(), options)
}

func newPoolUnder(t *testing.T, root string, options thinpool.CreateOptions) *thinpool.Pool {
	t.Helper()
	pool, err := thinpool.Create(testContext(t), realHost(t), root, poolName(t), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		finish(ctx, t, pool)
	})
	return pool
}

func poolName(t *testing.T) string {
	name, _, _ := strings.Cut(t.Name(), "/")
	return "it" + strings.ToLower(name[len("Test"):min(len(name), 24)])
}

func finish(ctx context.Context, t *testing.T, pool *thinpool.Pool) {
	status, err := pool.Status(ctx)
	if err != nil {
		t.Error(err)
	}
	if err := pool.Deactivate(ctx); err != nil {
		t.Error(err)
		return
	}
	thinCheck(t, status.Metadata.Path)
	if err := errors.Join(pool.Destroy(ctx), pool.Close(ctx)); err != nil {
		t.Error(err)
	}
	if out := run(t, "dmsetup", "ls"); strings.Contains(out, "thinctl-"+pool.Name()) {
		t.Errorf("got devices %s, want none", out)
	}
}

func thinCheck(t *testing.T, path string) {
	t.Helper()
	if out, err := exec.Command("thin_check", path).CombinedOutput(); err != nil {
		t.Errorf("thin_check %s: %v\n%s", path, err, out)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

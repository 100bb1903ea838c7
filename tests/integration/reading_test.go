//go:build kernel

package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/thinpool"
	"thinctl/units"
)

func nothingHeld(t *testing.T, pool *thinpool.Pool) {
	t.Helper()
	if block := statusOf(t, pool).Kernel.HeldRoot; block != 0 {
		t.Errorf("a metadata snapshot is held at block %d", block)
	}
}

// A full pool can be read, which is when users need it. A read-only pool cannot, nor one
// whose metadata snapshot another program holds, which stays.
func TestReadingRefused(t *testing.T) {
	ctx := testContext(t)
	options := tiny()
	options.ErrorIfFull = true
	pool := newPool(t, options)
	base := newLoad(t, pool, "base")
	if err := base.fill(span(0, 300, 1), 1); err == nil {
		t.Fatal("a write beyond the pool's space succeeded")
	}
	await(t, "full", inMode(t, pool, dm.ModeOutOfDataSpace))
	usage, err := pool.Usage(ctx, thinpool.UsageOptions{})
	if err != nil || usage.Free != 0 {
		t.Errorf("full pool: got %+v, %v", usage, err)
	}
	nothingHeld(t, pool)

	device := string(statusOf(t, pool).Device)
	run(t, "dmsetup", "message", device, "0", "reserve_metadata_snap")
	held := statusOf(t, pool).Kernel.HeldRoot
	_, err = pool.Usage(ctx, thinpool.UsageOptions{})
	if !errors.Is(err, thinpool.ErrHeldByOther) || !strings.Contains(err.Error(), fmt.Sprintf("block %d", held)) {
		t.Errorf("snapshot of another program: got %v", err)
	}
	if err := errors.Join(pool.Activate(ctx), pool.Recover(ctx)); err != nil {
		t.Error(err)
	}
	if now := statusOf(t, pool).Kernel.HeldRoot; now != held || held == 0 {
		t.Errorf("held root: got block %d, want %d", now, held)
	}
	run(t, "dmsetup", "message", device, "0", "release_metadata_snap")

	table := strings.TrimSpace(run(t, "dmsetup", "table", device))
	reload := func(table string) {
		run(t, "dmsetup", "load", device, "--table", table)
		run(t, "dmsetup", "suspend", device)
		run(t, "dmsetup", "resume", device)
	}
	fields := strings.Fields(table)
	reload(strings.Join(fields[:7], " ") + " 1 read_only")
	if _, err := pool.Usage(ctx, thinpool.UsageOptions{}); !errors.Is(err, fault.Unhealthy) ||
		!strings.Contains(err.Error(), "read-only") {
		t.Errorf("read-only: got %v", err)
	}
	reload(table)
	nothingHeld(t, pool)
}

// A reading fails and is repeated if another process releases the snapshot in the meantime.
func TestReadingMoved(t *testing.T) {
	pool, _ := written(t)
	device := string(statusOf(t, pool).Device)
	calls := 0
	err := pool.ReadMetadata(testContext(t), func(*thinpool.Reading) error {
		if calls++; calls == 1 {
			run(t, "dmsetup", "message", device, "0", "release_metadata_snap")
		}
		return nil
	})
	if err != nil || calls != 2 {
		t.Errorf("got %d readings, %v", calls, err)
	}
	nothingHeld(t, pool)
	err = pool.ReadMetadata(testContext(t), func(*thinpool.Reading) error {
		run(t, "dmsetup", "message", device, "0", "release_metadata_snap")
		run(t, "dmsetup", "message", device, "0", "create_thin 99")
		run(t, "dmsetup", "message", device, "0", "reserve_metadata_snap")
		return nil
	})
	if !errors.Is(err, thinpool.ErrHeldByOther) {
		t.Errorf("snapshot of another program in the meantime: got %v", err)
	}
	if statusOf(t, pool).Kernel.HeldRoot == 0 {
		t.Error("another program's metadata snapshot was released")
	}
	run(t, "dmsetup", "message", device, "0", "release_metadata_snap")
	run(t, "dmsetup", "message", device, "0", "delete 99")
	noFindings(t, pool)
}

// The blocks that are reported for a volume are on the data device, and its range of the
// data device belongs to it.
func TestMapsOfVolumes(t *testing.T) {
	pool, base := written(t) // 64 blocks, all shared with copy
	ctx := testContext(t)
	if err := base.fill(span(10, 20, 1), 2); err != nil {
		t.Fatal(err)
	}
	delta, err := pool.VolumeDelta(ctx, "copy", "base", false)
	if err != nil || len(delta.Differences) != 1 || delta.Differences[0].Virtual != 10*delta.Block ||
		delta.Differences[0].Length != 10*delta.Block {
		t.Fatalf("%+v, %v", delta, err)
	}
	runs, err := pool.VolumeMap(ctx, "base")
	if err != nil {
		t.Fatal(err)
	}
	var mapped units.Bytes
	for _, r := range runs {
		mapped += r.Length
		owners, err := pool.Owners(ctx, r.Data, r.Data+r.Length)
		if err != nil {
			t.Fatal(err)
		}
		want := 1
		if r.Virtual < 10*delta.Block || r.Virtual >= 20*delta.Block {
			want = 2
		}
		names := map[string]bool{}
		for _, o := range owners {
			names[o.Name] = true
		}
		if len(names) != want || !names["base"] {
			t.Errorf("%+v: got owners %+v", r, owners)
		}
	}
	if mapped != 64*delta.Block {
		t.Errorf("mapped: got %s", mapped)
	}
	nothingHeld(t, pool)
}

// The check needs no other program, on an active or an inactive pool.
func TestCheckAlone(t *testing.T) {
	pool, _ := written(t)
	t.Setenv("PATH", "/nonexistent")
	alone, err := thinpool.Open(testContext(t), realHost(t), strings.TrimSuffix(pool.Dir(), "/"+pool.Name()), pool.Name())
	if err != nil {
		t.Fatal(err)
	}
	noFindings(t, alone)
	deactivate(t, alone)
	noFindings(t, alone)
}

//go:build kernel

package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"thinctl/dm"
	"thinctl/thinpool"
	"thinctl/units"
)

// thinList is what thin_ls says of a pool's held root: mapped, exclusive and
// shared blocks by device id.
func thinList(ctx context.Context, t *testing.T, device string) map[uint32][3]uint64 {
	t.Helper()
	out := run(t, "thin_ls", "-m", "--no-headers", "-o", "DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS,SHARED_BLOCKS", device)
	devices := map[uint32][3]uint64{}
	for line := range strings.Lines(out) {
		var numbers [4]uint64
		for i, word := range strings.Fields(line) {
			n, err := strconv.ParseUint(word, 10, 64)
			if err != nil || i >= len(numbers) {
				t.Fatalf("thin_ls says %q", line)
			}
			numbers[i] = n
		}
		devices[uint32(numbers[0])] = [3]uint64(numbers[1:])
	}
	return devices
}

// churn writes to base, and makes, writes and removes snapshots of it, until the
// context ends.
func churn(ctx context.Context, t *testing.T, pool *thinpool.Pool, base *load, tick func()) {
	const range64K = 512
	var group sync.WaitGroup
	group.Go(func() {
		r := rand.New(rand.NewPCG(1, 1))
		for generation := uint64(1); ctx.Err() == nil; generation++ {
			blocks := make([]uint64, 0, 64)
			for range 64 {
				blocks = append(blocks, r.Uint64N(range64K))
			}
			if err := base.fill(blocks, generation); err != nil {
				t.Error(err)
				return
			}
		}
	})
	group.Go(func() {
		r := rand.New(rand.NewPCG(2, 2))
		var names []string
		for n := 0; ctx.Err() == nil; n++ {
			name := fmt.Sprintf("s%d", n)
			if err := snapshotWritten(ctx, t, pool, name, r); err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
				return
			}
			names = append(names, name)
			if len(names) > 4 {
				if _, err := pool.RemoveVolume(ctx, names[0], thinpool.RemoveOptions{}); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
				names = names[1:]
			}
			tick()
		}
	})
	group.Wait()
}

func snapshotWritten(ctx context.Context, t *testing.T, pool *thinpool.Pool, name string, r *rand.Rand) error {
	if _, err := pool.Snapshot(ctx, "base", name, thinpool.SnapshotOptions{}); err != nil {
		return err
	}
	volume, err := pool.ActivateVolume(ctx, name)
	if err != nil {
		return err
	}
	l := &load{node: volume.Node, block: 64 * units.KiB, every: 8, flushed: map[uint64]uint64{}}
	return l.fill([]uint64{r.Uint64N(512), r.Uint64N(512), r.Uint64N(512)}, 1)
}

// A pool under write load is read a hundred times while snapshots come and go:
// each time what is found is what thin_ls says of the same held root.
func TestUsageUnderLoad(t *testing.T) {
	pool := newPool(t, small())
	base := newLoad(t, pool, "base")
	if err := base.fill(span(0, 512, 2), 1); err != nil {
		t.Fatal(err)
	}
	loop := statusOf(t, pool).Metadata.Loop
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	busy, stop := context.WithCancel(ctx)
	snapshots := 0
	var ended sync.WaitGroup
	ended.Go(func() { churn(busy, t, pool, base, func() { snapshots++ }) })
	shared, transactions := 0, map[uint64]bool{}
	var longest, sum time.Duration
	for n := range 100 {
		began := time.Now()
		err := pool.ReadMetadata(ctx, func(r *thinpool.Reading) error {
			usage, err := r.Usage(ctx, thinpool.UsageOptions{})
			if err != nil {
				return err
			}
			took := time.Since(began)
			longest, sum = max(longest, took), sum+took
			transactions[usage.TransactionID] = true
			want := thinList(ctx, t, loop)
			if len(want) != len(usage.Volumes) {
				t.Errorf("reading %d: %d volumes, thin_ls has %d", n, len(usage.Volumes), len(want))
			}
			for _, v := range usage.Volumes {
				got := [3]uint64{uint64(v.Mapped / usage.Block), uint64(v.Exclusive / usage.Block), uint64(v.Shared / usage.Block)}
				if got != want[v.ID] {
					t.Errorf("reading %d, %s: %d mapped, exclusive, shared; thin_ls has %d", n, v, got, want[v.ID])
				}
				if v.Shared > 0 {
					shared++
				}
			}
			return nil
		})
		if err != nil {
			t.Fatalf("reading %d: %v", n, err)
		}
		if t.Failed() {
			break
		}
	}
	stop()
	ended.Wait()
	t.Logf("%d snapshots, %d moments, %d volumes that shared; a reading took %s, %s at most", snapshots, len(transactions), shared, (sum / 100).Round(time.Millisecond), longest.Round(time.Millisecond))
	if snapshots < 10 || len(transactions) < 10 || shared < 10 {
		t.Error("too little happened meanwhile")
	}
	// thin_ls, between its fork and its exec, has what churn has open.
	if _, waiting, err := pool.Reap(ctx); err != nil || len(waiting) > 0 {
		t.Errorf("%v, %+v are waiting", err, waiting)
	}
	addsUp(t, pool)
	noFindings(t, pool)
	nothingHeld(t, pool)
}

// addsUp compares with the kernel once nothing is written any more.
func addsUp(t *testing.T, pool *thinpool.Pool) {
	t.Helper()
	run(t, "dmsetup", "status", string(statusOf(t, pool).Device)) // commits
	usage, err := pool.Usage(testContext(t), thinpool.UsageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	sum := usage.Shared
	for _, v := range usage.Volumes {
		sum += v.Exclusive
	}
	status := statusOf(t, pool)
	if used := units.Bytes(status.Kernel.UsedData) * usage.Block; sum != used || usage.Used != used {
		t.Errorf("the volumes have %s, all in all %s; the kernel says %s", sum, usage.Used, used)
	}
}

func nothingHeld(t *testing.T, pool *thinpool.Pool) {
	t.Helper()
	if block := statusOf(t, pool).Kernel.HeldRoot; block != 0 {
		t.Errorf("a metadata snapshot is held at block %d", block)
	}
}

// A full pool can be read: that is when one wants to know. A read-only one
// cannot, nor one whose snapshot another program holds, which stays.
func TestReadingRefused(t *testing.T) {
	ctx := testContext(t)
	options := tiny()
	options.ErrorIfFull = true
	pool := newPool(t, options)
	base := newLoad(t, pool, "base")
	if err := base.fill(span(0, 300, 1), 1); err == nil {
		t.Fatal("more than the pool has was written")
	}
	await(t, "full", inMode(t, pool, dm.ModeOutOfDataSpace))
	usage, err := pool.Usage(ctx, thinpool.UsageOptions{})
	if err != nil || usage.Free != 0 {
		t.Errorf("a full pool: %+v, %v", usage, err)
	}
	nothingHeld(t, pool)

	device := string(statusOf(t, pool).Device)
	run(t, "dmsetup", "message", device, "0", "reserve_metadata_snap")
	held := statusOf(t, pool).Kernel.HeldRoot
	_, err = pool.Usage(ctx, thinpool.UsageOptions{})
	if !errors.Is(err, thinpool.ErrHeldByOther) || !strings.Contains(err.Error(), fmt.Sprintf("block %d", held)) {
		t.Errorf("another's snapshot: %v", err)
	}
	if err := errors.Join(pool.Activate(ctx), pool.Recover(ctx)); err != nil {
		t.Error(err)
	}
	if now := statusOf(t, pool).Kernel.HeldRoot; now != held || held == 0 {
		t.Errorf("held at block %d, was %d", now, held)
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
	if _, err := pool.Usage(ctx, thinpool.UsageOptions{}); !errors.Is(err, thinpool.ErrUnhealthy) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("read-only: %v", err)
	}
	reload(table)
	nothingHeld(t, pool)
}

// A reading whose process goes on while somebody else releases the snapshot is
// void, and tried again.
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
		t.Errorf("read %d times, %v", calls, err)
	}
	nothingHeld(t, pool)
	err = pool.ReadMetadata(testContext(t), func(*thinpool.Reading) error {
		run(t, "dmsetup", "message", device, "0", "release_metadata_snap")
		run(t, "dmsetup", "message", device, "0", "create_thin 99")
		run(t, "dmsetup", "message", device, "0", "reserve_metadata_snap")
		return nil
	})
	if !errors.Is(err, thinpool.ErrHeldByOther) {
		t.Errorf("another program's since: %v", err)
	}
	if statusOf(t, pool).Kernel.HeldRoot == 0 {
		t.Error("another program's metadata snapshot was released")
	}
	run(t, "dmsetup", "message", device, "0", "release_metadata_snap")
	run(t, "dmsetup", "message", device, "0", "delete 99")
	noFindings(t, pool)
}

// What is found of a volume by name is what is there; the range of the data
// device that it lies in is its.
func TestMapsOfVolumes(t *testing.T) {
	pool, base := written(t) // 64 blocks, all shared with copy
	ctx := testContext(t)
	if err := base.fill(span(10, 20, 1), 2); err != nil {
		t.Fatal(err)
	}
	delta, err := pool.VolumeDelta(ctx, "copy", "base", false)
	if err != nil || len(delta.Differences) != 1 || delta.Differences[0].Virtual != 10*delta.Block || delta.Differences[0].Length != 10*delta.Block {
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
			t.Errorf("%+v is %+v", r, owners)
		}
	}
	if mapped != 64*delta.Block {
		t.Errorf("%s are mapped", mapped)
	}
	nothingHeld(t, pool)
}

// A check needs no other program, active or not.
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

//go:build kernel

package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"thinctl/thinpool"
	"thinctl/units"
)

// thinList returns what thin_ls prints for a pool's held root: mapped, exclusive and shared
// blocks by device id.
func thinList(ctx context.Context, t *testing.T, device string) map[uint32][3]uint64 {
	t.Helper()
	out := run(t, "thin_ls", "-m", "--no-headers", "-o", "DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS,SHARED_BLOCKS", device)
	devices := map[uint32][3]uint64{}
	for line := range strings.Lines(out) {
		var numbers [4]uint64
		for i, word := range strings.Fields(line) {
			n, err := strconv.ParseUint(word, 10, 64)
			if err != nil || i >= len(numbers) {
				t.Fatalf("thin_ls: got %q", line)
			}
			numbers[i] = n
		}
		devices[uint32(numbers[0])] = [3]uint64(numbers[1:])
	}
	return devices
}

// churn writes to base, and makes, writes and removes snapshots of it, until the context
// ends.
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

// A pool under write load is read repeatedly while snapshots are made and removed. Each
// reading equals what thin_ls prints for the same held root. A slow machine limits the
// number of readings: at least twenty, then until a hundred or for two minutes.
func TestUsageUnderLoad(t *testing.T) {
	pool := newPool(t, small())
	base := newLoad(t, pool, "base")
	if err := base.fill(span(0, 512, 2), 1); err != nil {
		t.Fatal(err)
	}
	loop := statusOf(t, pool).Metadata.Loop
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	busy, stop := context.WithCancel(ctx)
	snapshots := 0
	var ended sync.WaitGroup
	ended.Go(func() { churn(busy, t, pool, base, func() { snapshots++ }) })
	shared, transactions := 0, map[uint64]bool{}
	var longest, sum time.Duration
	readings, start := 0, time.Now()
	for n := 0; n < 20 || n < 100 && time.Since(start) < 2*time.Minute; n++ {
		began := time.Now()
		readings++
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
	t.Logf("%d readings, %d snapshots, %d moments, %d volumes that shared; a reading took %s, %s at most", readings,
		snapshots, len(transactions), shared, (sum / time.Duration(readings)).Round(time.Millisecond), longest.Round(time.Millisecond))
	if snapshots < 10 || len(transactions) < 10 || shared < 10 {
		t.Error("too few snapshots were made and removed in the meantime")
	}
	// thin_ls, between its fork and its exec, has the files open that churn has.
	if _, waiting, err := pool.Reap(ctx); err != nil || len(waiting) > 0 {
		t.Errorf("got %v, %+v unreaped, want none", err, waiting)
	}
	addsUp(t, pool)
	noFindings(t, pool)
	nothingHeld(t, pool)
}

// addsUp compares with the kernel's counts once nothing is written.
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
		t.Errorf("used: got %s by volume, %s in all, want the kernel's %s", sum, usage.Used, used)
	}
}

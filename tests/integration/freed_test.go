//go:build kernel

package integration

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"thinctl/thinpool"
	"thinctl/units"
)

// The space that is announced before volumes are removed is freed when they are removed, as
// the kernel counts it; reading the whole metadata gives the same figure.
func TestFreed(t *testing.T) {
	pool, ctx, r := newPool(t, small()), testContext(t), rand.New(rand.NewPCG(3, 3))
	base := newLoad(t, pool, "base")
	if err := base.fill(span(0, 600, 1), 1); err != nil {
		t.Fatal(err)
	}
	names := []string{"base"}
	for n := range 9 {
		names = append(names, fmt.Sprintf("s%d", n))
		if err := snapshotWritten(ctx, t, pool, names[n+1], r); err != nil {
			t.Fatal(err)
		}
	}
	used := func() units.Bytes {
		t.Helper()
		run(t, "dmsetup", "status", string(statusOf(t, pool).Device)) // commits
		return units.Bytes(statusOf(t, pool).Kernel.UsedData) * 64 * units.KiB
	}
	var alone, whole time.Duration
	for len(names) > 0 {
		r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		going := names[:min(1+r.IntN(3), len(names))]
		names = names[len(going):]
		began := time.Now()
		told, err := pool.Freed(ctx, going...)
		if err != nil {
			t.Fatal(err)
		}
		alone += time.Since(began)
		began = time.Now()
		usage, err := pool.Usage(ctx, thinpool.UsageOptions{Freed: going})
		if err != nil {
			t.Fatal(err)
		}
		whole += time.Since(began)
		before := used()
		if _, err := pool.RemoveVolumes(ctx, going, thinpool.RemoveOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		if came := before - used(); told != came || usage.Freed != came {
			t.Errorf("%q: got %s freed, want %s by the volumes' own blocks, %s by all metadata", going, came, told,
				usage.Freed)
		}
	}
	t.Logf("computing took %s from the volumes' own blocks, %s from all metadata", alone.Round(time.Millisecond),
		whole.Round(time.Millisecond))
	noFindings(t, pool)
	nothingHeld(t, pool)
}

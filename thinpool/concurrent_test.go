package thinpool_test

import (
	"context"
	"testing"
	"time"

	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// TestManyClients runs 32 clients of one pool through two handles, as two processes do. No
// acknowledged change may be lost, and nothing may be left. tests/crash does the same with
// real processes.
func TestManyClients(t *testing.T) {
	const number, steps = 32, 100
	f := thinpooltest.New(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	first, err := thinpool.Create(ctx, f.Host(), f.Root, "shared", thinpool.CreateOptions{
		DataSize: 512 * units.MiB, MetadataSize: 8 * units.MiB, BaseSize: 16 * units.MiB, Reserve: &store.Reserve{}})
	check(t, err)
	second, err := thinpool.Open(ctx, f.Host(), f.Root, "shared")
	check(t, err)
	check(t, thinpooltest.MakeGolden(ctx, first, f.Blocks()))

	crowds := make([]*thinpooltest.Crowd, 2)
	faults := make(chan error, len(crowds))
	began := time.Now()
	for i, pool := range []*thinpool.Pool{first, second} {
		crowds[i] = &thinpooltest.Crowd{Pool: pool, Blocks: f.Blocks(), Ledger: thinpooltest.NewGoldenLedger(), Grows: i == 0,
			First: i * number / 2, Number: number / 2, Steps: steps, Seed: 1}
		go func() { faults <- crowds[i].Run(ctx) }()
	}
	for range crowds {
		if err := <-faults; err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d steps in %s", number*steps, time.Since(began).Round(time.Millisecond))

	for _, pool := range []*thinpool.Pool{first, second} {
		check(t, pool.Close(ctx))
	}
	all := crowds[0].Ledger
	all.Add(crowds[1].Ledger)
	if err := all.Compare(ctx, first, f.Blocks()); err != nil {
		t.Error(err)
	}
	report, err := first.Check(ctx)
	check(t, err)
	if len(report.Findings) != 0 {
		t.Errorf("got findings %+v, want none", report.Findings)
	}
	tearDown(ctx, t, f, t.Errorf)
}

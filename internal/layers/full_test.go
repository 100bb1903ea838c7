package layers_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"thinctl/fault"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots"
	"thinctl/thinpool"
	"thinctl/units"
)

// A pool becomes full while a chain is loaded. The error reports it, the layers below are intact, and the failed layer
// leaves no block in use.
func TestPoolFullInChain(t *testing.T) {
	for _, queues := range []bool{false, true} {
		t.Run(map[bool]string{false: "fails", true: "queues"}[queues], func(t *testing.T) { poolFullInChain(t, queues) })
	}
}

func poolFullInChain(t *testing.T, queues bool) {
	o := thinpooltest.SmallPool()
	o.DataSize, o.ErrorIfFull = 4*units.MiB, !queues // 64 blocks
	f := newFixtureOn(t, o)
	f.Files.Patience = 100 * time.Millisecond
	chain, err := f.s.BeginChain(f.ctx, layers.ChainOptions{Layers: ids("a", "b", "c")})
	check(t, err)
	_, err = chain.Add(f.ctx, layers.LayerSpec{ID: id("a")}, fill("a"))
	check(t, err)
	before, err := f.pool.Status(f.ctx)
	check(t, err)
	_, err = chain.Add(f.ctx, layers.LayerSpec{ID: id("b")}, func(root string) (layers.Filled, error) {
		for i := range 200 {
			check(t, os.WriteFile(filepath.Join(root, fmt.Sprint("large", i)), []byte("x"), 0o600))
		}
		return layers.Filled{}, nil
	})
	wantError(t, err, fault.Full, "add layer", "no data block is left")
	wantCure(t, err, snapshots.PoolFull{Pool: "vault"})
	check(t, chain.Close())
	check(t, f.verify())
	after, err := f.pool.Status(f.ctx)
	check(t, err)
	if after.Data.Used > before.Data.Used {
		t.Errorf("got %s used after the failed layer, want at most %s", after.Data.Used, before.Data.Used)
	}
	check(t, f.checkLayer("a"))
	_, err = f.pool.Extend(f.ctx, thinpool.ExtendOptions{Data: 16 * units.MiB, Metadata: after.Metadata.Total})
	check(t, err)
	check(t, load(f.ctx, f.s, "a", "b", "c"))
	check(t, f.checkLayer("a", "b", "c"))
	check(t, f.verify())
}

// A chain begins no layer below the pool's reserve.
func TestReserveInChain(t *testing.T) {
	o := thinpooltest.SmallPool()
	o.Reserve = &thinpool.Reserve{Data: 50}
	o.DataSize = 4 * units.MiB
	f := newFixtureOn(t, o)
	chain, err := f.s.BeginChain(f.ctx, layers.ChainOptions{Layers: ids("a", "b")})
	check(t, err)
	_, err = chain.Add(f.ctx, layers.LayerSpec{ID: id("a")}, func(root string) (layers.Filled, error) {
		for i := range 40 {
			check(t, os.WriteFile(filepath.Join(root, fmt.Sprint("large", i)), []byte("x"), 0o600))
		}
		return layers.Filled{}, nil
	})
	wantError(t, err, thinpool.ErrReserve, "reserve")
	check(t, chain.Close())
	check(t, f.verify())
}

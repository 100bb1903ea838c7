package snapshots_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"thinctl/fault"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots"
	"thinctl/thinpool"
	"thinctl/units"
)

// A pool that runs full in the middle of a chain: the error says so, the layers
// before are whole, and the pool has as much as before the layer that failed.
func TestPoolFullInAChain(t *testing.T) {
	for _, queues := range []bool{false, true} {
		t.Run(map[bool]string{false: "fails", true: "queues"}[queues], func(t *testing.T) { fullInAChain(t, queues) })
	}
}

func fullInAChain(t *testing.T, queues bool) {
	o := thinpooltest.SmallPool()
	o.DataSize, o.ErrorIfFull = 4*units.MiB, !queues // 64 blocks
	st := newStageOn(t, o)
	st.Files.Patience = 100 * time.Millisecond
	chain, err := st.s.BeginChain(st.ctx, snapshots.ChainOptions{Layers: ids("a", "b", "c")})
	check(t, err)
	_, err = chain.Add(st.ctx, snapshots.LayerSpec{ID: id("a")}, fill("a"))
	check(t, err)
	before, err := st.pool.Status(st.ctx)
	check(t, err)
	_, err = chain.Add(st.ctx, snapshots.LayerSpec{ID: id("b")}, func(root string) (snapshots.Filled, error) {
		for i := range 200 {
			check(t, os.WriteFile(filepath.Join(root, fmt.Sprint("large", i)), []byte("x"), 0o600))
		}
		return snapshots.Filled{}, nil
	})
	says(t, err, fault.Full, "add layer", "pool extend vault --data", "no data block is left")
	check(t, chain.Close())
	check(t, st.agree())
	after, err := st.pool.Status(st.ctx)
	check(t, err)
	if after.Data.Used > before.Data.Used {
		t.Errorf("%s used before, %s after", before.Data.Used, after.Data.Used)
	}
	check(t, st.wholeLayer("a"))
	_, err = st.pool.Extend(st.ctx, thinpool.ExtendOptions{Data: 16 * units.MiB, Metadata: after.Metadata.Total})
	check(t, err)
	check(t, load(st.ctx, st.s, "a", "b", "c"))
	check(t, st.wholeLayer("a", "b", "c"))
	check(t, st.agree())
}

// Below the pool's reserve no layer is begun.
func TestReserveInAChain(t *testing.T) {
	o := thinpooltest.SmallPool()
	o.Reserve = &thinpool.Reserve{Data: 50}
	o.DataSize = 4 * units.MiB
	st := newStageOn(t, o)
	chain, err := st.s.BeginChain(st.ctx, snapshots.ChainOptions{Layers: ids("a", "b")})
	check(t, err)
	_, err = chain.Add(st.ctx, snapshots.LayerSpec{ID: id("a")}, func(root string) (snapshots.Filled, error) {
		for i := range 40 {
			check(t, os.WriteFile(filepath.Join(root, fmt.Sprint("large", i)), []byte("x"), 0o600))
		}
		return snapshots.Filled{}, nil
	})
	says(t, err, thinpool.ErrReserve, "reserve")
	check(t, chain.Close())
	check(t, st.agree())
}

//go:build kernel

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/thinpool"
	"thinctl/units"
)

// Snapshots of a read-only volume are taken while it is active and read; it is not
// suspended. Each copy, taken in a batch, is equal to it, and stays so when another copy is
// written.
func TestSnapshotsOfWhatIsRead(t *testing.T) {
	const blocks, clients, each = 64, 8, 4
	ctx := testContext(t)
	pool := newPool(t, small())
	base := newLoad(t, pool, "base")
	if err := base.fill(span(0, blocks, 1), 1); err != nil {
		t.Fatal(err)
	}
	_, err := pool.Snapshot(ctx, "base", "layer",
		thinpool.SnapshotOptions{Keep: thinpool.Keep{For: "test", ReadOnly: true}})
	if err != nil {
		t.Fatal(err)
	}
	layer := loadOn(t, pool, "layer")
	if err := loadOn(t, pool, "layer").fill([]uint64{0}, 2); !errors.Is(err, unix.EPERM) {
		t.Errorf("write to the layer: got %v", err)
	}
	before := statusOf(t, pool)

	reading, stop := context.WithCancel(ctx)
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for reading.Err() == nil && !t.Failed() {
				sameAs(t, base, layer)
			}
		})
	}
	copies := make([][]*load, clients)
	for c := range clients {
		writers.Go(func() {
			for n := range each {
				name := fmt.Sprintf("copy-%d-%d", c, n)
				if _, err := pool.Snapshot(ctx, "layer", name, thinpool.SnapshotOptions{}); err != nil {
					t.Error(err)
					return
				}
				one := loadOn(t, pool, name)
				sameAs(t, base, one)
				if err := one.fill(span(uint64(n), blocks, each), 2); err != nil {
					t.Error(err)
				}
				copies[c] = append(copies[c], one)
			}
		})
	}
	writers.Wait()
	stop()
	readers.Wait()
	sameAs(t, base, layer)
	for _, one := range copies {
		for _, one := range one {
			one.intact(t, 0)
		}
	}
	after := statusOf(t, pool)
	taken := after.Kernel.TransactionID - before.Kernel.TransactionID
	t.Logf("%d snapshots by %d clients took %d transactions", clients*each, clients, taken)
	if taken >= clients*each {
		t.Errorf("no two of %d shared a transaction", clients*each)
	}
	const own = clients * blocks * 64 * units.KiB // each client's copies have written each block once
	if got := after.Data.Used - before.Data.Used; got != own {
		t.Errorf("the copies have taken %s, not %s", got, units.Bytes(own))
	}
	noFindings(t, pool)
	if _, err := pool.RemoveVolume(ctx, "layer", thinpool.RemoveOptions{For: "test"}); err != nil {
		t.Error(err)
	}
}

// sameAs reports whether a volume holds what was written to another.
func sameAs(t *testing.T, written, read *load) {
	t.Helper()
	file, err := os.OpenFile(read.node, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer file.Close()
	got, free := aligned(written.block)
	defer free()
	want := make([]byte, written.block)
	for block, generation := range written.flushed {
		_, err := file.ReadAt(got, int64(block)*int64(written.block))
		if written.content(want, block, generation); err != nil || !bytes.Equal(got, want) {
			t.Errorf("block %d of %s is not as it was written: %v", block, read.node, err)
			return
		}
	}
}

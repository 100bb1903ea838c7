//go:build kernel

package integration

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/thinpool"
	"thinctl/units"
)

// Scattered writes to an origin with snapshots break one leaf of the mapping tree each,
// until the metadata are full.
func TestMetadataFull(t *testing.T) {
	const leaves, apart = 16, 252 // full leaves of the base's tree
	began := time.Now()
	pool := newPool(t, thinpool.CreateOptions{
		DataSize: 512 * units.MiB, MetadataSize: 2 * units.MiB, BaseSize: 512 * units.MiB,
		SkipZeroing: true, Reserve: &thinpool.Reserve{},
	})
	base := newLoad(t, pool, "base")
	base.block, base.every = 4*units.KiB, 512 // of each 64K block: only metadata are used up
	if err := base.fill(span(0, leaves*apart, 1), 1); err != nil {
		t.Fatal(err)
	}
	base.every = leaves
	t.Logf("base written after %s", time.Since(began))
	var faults []error
	generation := uint64(1)
	for round := 0; len(faults) == 0 && round < 100; round++ {
		if _, err := pool.Snapshot(testContext(t), "base", fmt.Sprintf("s%d", round),
			thinpool.SnapshotOptions{}); err != nil {
			faults = append(faults, err)
		}
		generation++
		if err := base.fill(span(uint64(round%apart), leaves*apart, apart), generation); err != nil {
			faults = append(faults, err)
		}
	}
	t.Logf("full after %s", time.Since(began))
	s := statusOf(t, pool)
	t.Logf("after %d generations: mode %s, needs_check %v, %d of %d metadata blocks; %v", generation,
		s.Kernel.Mode, s.Kernel.NeedsCheck, s.Kernel.UsedMetadata, s.Kernel.TotalMetadata, errors.Join(faults...))
	if len(faults) == 0 || s.Kernel.Mode != dm.ModeReadOnly {
		t.Fatalf("mode %s: the metadata did not fill up", s.Kernel.Mode)
	}
	base.intact(t, generation)

	kind, sentence := error(fault.Unhealthy), "--metadata"
	if s.Kernel.NeedsCheck {
		kind, sentence = thinpool.ErrNeedsCheck, "pool repair"
	}
	refusedNew(t, pool, "base", kind, sentence)
	if _, err := pool.RemoveVolume(testContext(t), "s0", thinpool.RemoveOptions{}); !errors.Is(err, kind) {
		t.Errorf("removing: %v, want %v", err, kind)
	}
	report, err := pool.Check(testContext(t))
	if err != nil || len(report.Findings) == 0 {
		t.Errorf("check of a full pool: got %+v, %v", report, err)
	}
	if s.Kernel.NeedsCheck {
		repairOffline(t, pool)
		loadOn(t, pool, "base")
	}
	if _, err := pool.Extend(testContext(t), thinpool.ExtendOptions{Metadata: 8 * units.MiB}); err != nil {
		t.Fatal(err)
	}
	s = statusOf(t, pool)
	if s.Kernel.Mode != dm.ModeWrite || s.Kernel.TotalMetadata != 2048 {
		t.Errorf("after the extension: got mode %s, %d metadata blocks", s.Kernel.Mode, s.Kernel.TotalMetadata)
	}
	if err := base.fill(span(1, leaves*apart, apart), generation+1); err != nil {
		t.Errorf("writing after the extension: %v", err)
	}
	if _, err := pool.Snapshot(testContext(t), "base", "late", thinpool.SnapshotOptions{}); err != nil {
		t.Error(err)
	}
	remove(t, pool, "s0")
	base.intact(t, generation)
	noFindings(t, pool)
}

// repairOffline performs the repair that needs_check asks for.
func repairOffline(t *testing.T, pool *thinpool.Pool) thinpool.Repair {
	t.Helper()
	ctx := testContext(t)
	if err := pool.Deactivate(ctx); err != nil {
		t.Fatal(err)
	}
	repair, err := pool.Repair(ctx, thinpool.RepairOptions{})
	if err != nil || len(repair.Left) > 0 {
		t.Fatalf("repair: got %+v, %v", repair, err)
	}
	t.Logf("repair: %q", repair.Actions)
	if err := pool.Activate(ctx); err != nil {
		t.Fatal(err)
	}
	return repair
}

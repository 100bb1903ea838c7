//go:build kernel

package integration

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/dm"
	"thinctl/internal/remedy"
	"thinctl/thinpool"
	"thinctl/units"
)

// tiny returns options of a pool of 256 data blocks.
func tiny() thinpool.CreateOptions {
	return thinpool.CreateOptions{DataSize: 16 * units.MiB, MetadataSize: 4 * units.MiB, BaseSize: 64 * units.MiB}
}

// refusedNew checks that new volumes are refused with a remedy.
func refusedNew(t *testing.T, pool *thinpool.Pool, origin string, kind error, sentence string) {
	t.Helper()
	ctx := testContext(t)
	before := volumeCount(t, pool)
	_, created := pool.CreateVolume(ctx, "refused", thinpool.VolumeOptions{})
	_, taken := pool.Snapshot(ctx, origin, "refused", thinpool.SnapshotOptions{})
	for _, err := range []error{created, taken} {
		if !errors.Is(err, kind) || !strings.Contains(remedy.Text(err), sentence) {
			t.Errorf("got %v; want %q with the remedy %q", err, kind, sentence)
		}
	}
	if after := volumeCount(t, pool); after != before {
		t.Errorf("got %d volumes, want the %d before the refusal", after, before)
	}
}

func volumeCount(t *testing.T, pool *thinpool.Pool) int {
	t.Helper()
	return statusOf(t, pool).Volumes
}

func statusOf(t *testing.T, pool *thinpool.Pool) thinpool.Status {
	t.Helper()
	status, err := pool.Status(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: did not happen within 5 minutes", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func inMode(t *testing.T, pool *thinpool.Pool, mode dm.Mode) func() bool {
	return func() bool { return statusOf(t, pool).Kernel.Mode == mode }
}

func remove(t *testing.T, pool *thinpool.Pool, name string) {
	t.Helper()
	removal, err := pool.RemoveVolume(testContext(t), name, thinpool.RemoveOptions{})
	if err != nil || !removal.Reaped {
		t.Fatalf("remove %s: got reaped %v: %v", name, removal.Reaped, err)
	}
}

func isFull(t *testing.T, pool *thinpool.Pool) {
	t.Helper()
	s := statusOf(t, pool)
	if s.Kernel.Mode != dm.ModeOutOfDataSpace || s.Data.Available != 0 || s.Data.Used != s.Data.Total {
		t.Errorf("mode %s, %s used and %s available of %s; want it out of data space", s.Kernel.Mode, s.Data.Used,
			s.Data.Available, s.Data.Total)
	}
}

func TestDataFullAndWritesFail(t *testing.T) {
	options := tiny()
	options.ErrorIfFull = true
	pool := newPool(t, options)
	doomed := newLoad(t, pool, "doomed")
	if err := doomed.fill(span(0, 64, 1), 1); err != nil {
		t.Fatal(err)
	}
	a, b := newLoad(t, pool, "a"), newLoad(t, pool, "b")
	var writers sync.WaitGroup
	for _, l := range []*load{a, b} {
		writers.Go(func() { _ = l.fill(span(0, 512, 1), 1) })
	}
	writers.Wait()
	if !errors.Is(a.err, unix.ENOSPC) || !errors.Is(b.err, unix.ENOSPC) {
		t.Errorf("the writers ended with %v and %v, want ENOSPC", a.err, b.err)
	}
	isFull(t, pool)
	refusedNew(t, pool, "a", thinpool.ErrReserve, "pool extend")
	for _, l := range []*load{doomed, a, b} {
		l.intact(t, 0)
	}

	remove(t, pool, "doomed")
	await(t, "writing again", inMode(t, pool, dm.ModeWrite))
	if used := statusOf(t, pool).Data.Used; used > 12*units.MiB {
		t.Errorf("after 4M were removed: got %s used", used)
	}
	if err := a.fill(span(512, 544, 1), 2); err != nil {
		t.Errorf("after a removal: %v", err)
	}
	_ = b.fill(span(512, 700, 1), 2) // full again
	isFull(t, pool)
	if _, err := pool.Extend(testContext(t), thinpool.ExtendOptions{Data: 32 * units.MiB}); err != nil {
		t.Fatal(err)
	}
	if s := statusOf(t, pool); s.Kernel.Mode != dm.ModeWrite || s.Data.Total != 32*units.MiB {
		t.Errorf("after the extension: got mode %s, %s", s.Kernel.Mode, s.Data.Total)
	}
	if err := b.fill(span(700, 732, 1), 3); err != nil {
		t.Errorf("after the extension: %v", err)
	}
	a.intact(t, 0)
	b.intact(t, 0)
}

func TestDataFullAndWritesWait(t *testing.T) {
	options := tiny()
	options.Reserve = &thinpool.Reserve{}
	pool := newPool(t, options)
	doomed := newLoad(t, pool, "doomed")
	if err := doomed.fill(span(0, 64, 1), 1); err != nil {
		t.Fatal(err)
	}
	a, b := newLoad(t, pool, "a"), newLoad(t, pool, "b")
	var writers sync.WaitGroup
	for _, l := range []*load{a, b} {
		writers.Go(func() { _ = l.fill(span(0, 200, 1), 1) })
	}
	await(t, "out of data space", inMode(t, pool, dm.ModeOutOfDataSpace))
	isFull(t, pool)

	// A snapshot of an origin with blocked writes fails within its time and leaves no
	// trace.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	began := time.Now()
	if _, err := pool.Snapshot(ctx, "a", "stuck", thinpool.SnapshotOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a snapshot of a stuck origin: %v", err)
	}
	if took := time.Since(began); took > 2*time.Minute {
		t.Errorf("snapshot: failed after %s, want about 2 s, which is its context's time", took)
	}

	remove(t, pool, "doomed")
	await(t, "full again", func() bool {
		s := statusOf(t, pool)
		return s.Kernel.Mode == dm.ModeOutOfDataSpace && s.Data.Available == 0
	})
	extension, err := pool.Extend(testContext(t), thinpool.ExtendOptions{Data: 64 * units.MiB})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the pool was suspended for %s", extension.Suspended)
	writers.Wait()
	if a.err != nil || b.err != nil {
		t.Errorf("blocked writes: got %v and %v", a.err, b.err)
	}
	if len(a.flushed) != 200 || len(b.flushed) != 200 {
		t.Errorf("%d and %d blocks were flushed, want 200 of each", len(a.flushed), len(b.flushed))
	}
	a.intact(t, 0)
	b.intact(t, 0)
	for _, name := range []string{"a", "b"} {
		if s, err := pool.VolumeStatus(testContext(t), name); err != nil || s.Suspended {
			t.Errorf("%s: got suspended %v: %v", name, s.Suspended, err)
		}
	}
	if _, err := pool.Snapshot(testContext(t), "a", "late", thinpool.SnapshotOptions{}); err != nil {
		t.Errorf("a snapshot once there is space: %v", err)
	}
	noFindings(t, pool)
}

func noFindings(t *testing.T, pool *thinpool.Pool) {
	t.Helper()
	if err := pool.Close(testContext(t)); err != nil {
		t.Error(err)
	}
	report, err := pool.Check(testContext(t))
	if err != nil || len(report.Findings) > 0 {
		t.Errorf("check: got %+v, %v", report.Findings, err)
	}
}

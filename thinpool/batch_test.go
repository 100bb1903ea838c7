package thinpool_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"thinctl/fault"
	"thinctl/internal/filelock"
	"thinctl/internal/testkit/dmtest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
)

const companions thinpool.DocumentKind = "companions"

// batchFixture is a fixture in which changes wait for the pool's lock until release.
type batchFixture struct {
	t       *testing.T
	fixture *thinpooltest.Fixture
	ctx     context.Context
	pool    *thinpool.Pool
	waiting func() int
	release func() error
}

func newBatchFixture(t *testing.T) *batchFixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	b := &batchFixture{t: t, fixture: thinpooltest.New(t), ctx: ctx}
	check(t, thinpooltest.Prepare(ctx, b.fixture.Host(), b.fixture.Root, b.fixture.Blocks(), true))
	var err error
	b.pool, err = thinpool.Open(ctx, b.fixture.Host(), b.fixture.Root, thinpooltest.CrashPool)
	check(t, err)
	b.waiting, b.release, err = b.pool.Holding(ctx)
	check(t, err)
	return b
}

// runInOneBatch runs all changes concurrently. They wait for the lock together, so that they
// share a transaction where possible.
func (b *batchFixture) runInOneBatch(all ...func(context.Context) error) []error {
	b.t.Helper()
	faults := make([]error, len(all))
	var group sync.WaitGroup
	for i, do := range all {
		group.Go(func() { faults[i] = do(b.ctx) })
	}
	for b.waiting() < len(all) && b.ctx.Err() == nil {
		runtime.Gosched()
	}
	check(b.t, b.release())
	group.Wait()
	return faults
}

// snapshot makes a volume with a document of its name.
func (b *batchFixture) snapshot(origin, name string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := b.pool.Snapshot(ctx, origin, name, thinpool.SnapshotOptions{Keep: thinpool.Keep{
			With: func(tx *thinpool.Tx, v thinpool.VolumeRecord) error { return tx.Put(companions, v.Name, v.ID) }}})
		return err
	}
}

// state returns the transaction id and the volumes whose names begin with "s", with
// their documents.
func (b *batchFixture) state() (tx uint64, names []string) {
	b.t.Helper()
	status, err := b.pool.Status(b.ctx)
	check(b.t, err)
	volumes, err := b.pool.Volumes(b.ctx)
	check(b.t, err)
	documents := map[string]uint32{}
	check(b.t, b.pool.View(b.ctx, func(tx *thinpool.Tx) error {
		for entry, err := range thinpool.Documents[uint32](tx, companions, "") {
			if err != nil {
				return err
			}
			documents[entry.Key] = entry.Record
		}
		return nil
	}))
	for _, v := range volumes {
		if id, documented := documents[v.Name]; strings.HasPrefix(v.Name, "s") && (!documented || id != v.ID) {
			b.t.Errorf("volume %s: got document %d (exists %t), want %d", v.Name, id, documented, v.ID)
		} else if documented {
			names = append(names, v.Name)
			delete(documents, v.Name)
		}
	}
	if len(documents) != 0 {
		b.t.Errorf("got documents %v without volumes, want none", documents)
	}
	return status.Kernel.TransactionID, names
}

func wantNames(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestBatch checks that concurrent snapshots share one transaction, and that an active origin
// is suspended once for all of its snapshots.
func TestBatch(t *testing.T) {
	b := newBatchFixture(t)
	before, _ := b.state()
	var suspends, messages atomic.Int32
	b.fixture.Kernel.SetFault(func(c dmtest.Call) error {
		if c.Phase == dmtest.Before && c.Op == "suspend" {
			suspends.Add(1)
		}
		if c.Phase == dmtest.Before && c.Op == "message" {
			messages.Add(1)
		}
		return nil
	})
	for _, err := range b.runInOneBatch(b.snapshot("base", "s1"), b.snapshot("base", "s2"), b.snapshot("idle", "s3"), b.snapshot("base", "s4")) {
		check(t, err)
	}
	b.fixture.Kernel.SetFault(nil)
	after, names := b.state()
	wantNames(t, names, "s1", "s2", "s3", "s4")
	if after != before+1 {
		t.Errorf("got %d transactions, want 1", after-before)
	}
	if suspends.Load() != 2 || messages.Load() != 5 {
		t.Errorf("got %d suspensions and %d messages, want 2 and 5", suspends.Load(), messages.Load())
	}
}

// TestBatchWithInvalidChange checks that an invalid change fails by itself, and that the
// other changes of its batch succeed.
func TestBatchWithInvalidChange(t *testing.T) {
	b := newBatchFixture(t)
	before, _ := b.state()
	own := errors.New("this one will not")
	refuses := func(ctx context.Context) error {
		_, err := b.pool.Snapshot(ctx, "base", "s9", thinpool.SnapshotOptions{Keep: thinpool.Keep{
			With: func(tx *thinpool.Tx, v thinpool.VolumeRecord) error {
				return errors.Join(tx.Put(companions, v.Name, v.ID), own)
			}}})
		return err
	}
	faults := b.runInOneBatch(b.snapshot("base", "s1"), b.snapshot("base", "s1"), refuses, b.snapshot("idle", "s2"))
	exists := 0
	for i, err := range faults[:2] {
		switch {
		case errors.Is(err, fault.Exists):
			exists++
		case err != nil:
			t.Errorf("change %d: got %v", i, err)
		}
	}
	if exists != 1 || !errors.Is(faults[2], own) || faults[3] != nil {
		t.Errorf("got %v", faults)
	}
	after, names := b.state()
	wantNames(t, names, "s1", "s2")
	if after != before+1 {
		t.Errorf("got %d transactions, want 1", after-before)
	}
}

// TestBatchRejectedByKernel checks that a batch with a change that the kernel rejects is
// undone, and that each of its changes is then tried solo.
func TestBatchRejectedByKernel(t *testing.T) {
	for _, refused := range []error{fault.Exists, fault.Full} {
		b := newBatchFixture(t)
		before, _ := b.state()
		var creations atomic.Int32
		b.fixture.Kernel.SetFault(func(c dmtest.Call) error {
			if c.Phase == dmtest.Before && strings.HasPrefix(c.Detail, "create_snap") && creations.Add(1) == 2 {
				return refused
			}
			return nil
		})
		for _, err := range b.runInOneBatch(b.snapshot("base", "s1"), b.snapshot("base", "s2"), b.snapshot("idle", "s3")) {
			check(t, err)
		}
		b.fixture.Kernel.SetFault(nil)
		after, names := b.state()
		wantNames(t, names, "s1", "s2", "s3")
		if after != before+3 || creations.Load() != 5 {
			t.Errorf("got %d transactions and %d messages, want 3 and 5", after-before, creations.Load())
		}
		report, err := b.pool.Check(b.ctx)
		check(t, err)
		if len(report.Findings) != 0 {
			t.Errorf("got findings %+v, want none", report.Findings)
		}
	}
}

// TestBatchSeparatesDocuments checks that a change of documents alone is in no batch that may
// be undone.
func TestBatchSeparatesDocuments(t *testing.T) {
	b := newBatchFixture(t)
	failing := errors.New("the kernel is gone")
	b.fixture.Kernel.SetFault(func(c dmtest.Call) error {
		if c.Phase == dmtest.Before && strings.HasPrefix(c.Detail, "create_snap") {
			return failing
		}
		return nil
	})
	document := func(key string) func(context.Context) error {
		return func(ctx context.Context) error {
			return b.pool.Update(ctx, func(tx *thinpool.Tx) error { return tx.Put("own", key, key) })
		}
	}
	faults := b.runInOneBatch(document("a"), b.snapshot("base", "s1"), document("b"), b.snapshot("base", "s2"))
	if faults[0] != nil || faults[2] != nil || !errors.Is(faults[1], failing) || !errors.Is(faults[3], failing) {
		t.Errorf("got %v", faults)
	}
	b.fixture.Kernel.SetFault(nil)
	_, names := b.state()
	wantNames(t, names)
	check(t, b.pool.View(b.ctx, func(tx *thinpool.Tx) error {
		if n := tx.Count("own"); n != 2 {
			t.Errorf("got %d documents, want 2", n)
		}
		return nil
	}))
}

// TestBatchCanceled checks that a caller whose context ends before its batch begins does not
// affect the others.
func TestBatchCanceled(t *testing.T) {
	b := newBatchFixture(t)
	impatient, cancel := context.WithCancel(b.ctx)
	gaveUp := make(chan struct{}, 2)
	leave := func(name string) func(context.Context) error {
		return func(context.Context) error {
			err := b.snapshot("base", name)(impatient)
			gaveUp <- struct{}{}
			return err
		}
	}
	go func() { // both are canceled before a transaction begins
		for b.waiting() < 4 && b.ctx.Err() == nil {
			runtime.Gosched()
		}
		cancel()
	}()
	var faults [4]error
	var group sync.WaitGroup
	for i, do := range []func(context.Context) error{leave("s1"), b.snapshot("base", "s2"), leave("s3"), b.snapshot("idle", "s4")} {
		group.Go(func() { faults[i] = do(b.ctx) })
	}
	for range 2 {
		<-gaveUp
	}
	check(t, b.release())
	group.Wait()
	for i, err := range faults {
		if left := i%2 == 0; left && (!errors.Is(err, context.Canceled) || !errors.Is(err, filelock.ErrHeld)) || !left && err != nil {
			t.Errorf("change %d: got %v", i, err)
		}
	}
	_, names := b.state()
	wantNames(t, names, "s2", "s4")
}

// TestBatchStoppedAtEveryStep checks that a process that stops during a batch leaves all of
// its changes done or all undone.
func TestBatchStoppedAtEveryStep(t *testing.T) {
	for _, phase := range []thinpooltest.Phase{thinpooltest.Before, thinpooltest.After} {
		for _, power := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/power cut %t", [...]string{"before", "after"}[phase], power), func(t *testing.T) {
				t.Parallel()
				n := 1
				for batchStopped(t, n, phase, power) {
					n++
				}
				if n < 8 && !t.Failed() {
					t.Errorf("got %d steps, want at least 7", n-1)
				}
			})
		}
	}
}

func batchStopped(t *testing.T, n int, phase thinpooltest.Phase, power bool) bool {
	t.Helper()
	b := newBatchFixture(t)
	hold := b.release
	b.release = func() error {
		b.fixture.StopAt(n, phase)
		return hold()
	}
	faults := b.runInOneBatch(b.snapshot("base", "s1"), b.snapshot("base", "s2"), b.snapshot("idle", "s3"))
	step, stopped := b.fixture.Restart()
	if power {
		b.fixture.PowerOff(t)
	}
	fault := func(format string, args ...any) {
		t.Helper()
		t.Errorf("stopped %s step %d (%s), which returned %v: %s", [...]string{"before", "after"}[phase], n, step, faults, fmt.Sprintf(format, args...))
	}
	if err := thinpooltest.Reopen(b.ctx, b.fixture.Host(), b.fixture.Root); err != nil {
		fault("%v", err)
	}
	if _, err := thinpooltest.Inspect(b.ctx, b.fixture.Host(), b.fixture.Root); err != nil {
		fault("%v", err)
	}
	var err error
	b.pool, err = thinpool.Open(b.ctx, b.fixture.Host(), b.fixture.Root, thinpooltest.CrashPool)
	check(t, err)
	_, names := b.state()
	if len(names) != 0 && len(names) != 3 {
		fault("got %v, want all or none", names)
	}
	for i, err := range faults {
		if err == nil && len(names) == 0 {
			fault("change %d was acknowledged, but is missing", i)
		}
	}
	tearDown(b.ctx, t, b.fixture, fault)
	return stopped && !t.Failed()
}

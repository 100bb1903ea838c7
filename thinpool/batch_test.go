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

// begun is a world in which changes wait for the pool's lock.
type begun struct {
	t       *testing.T
	w       *thinpooltest.Fixture
	ctx     context.Context
	pool    *thinpool.Pool
	waiting func() int
	release func() error
}

func newBegun(t *testing.T) *begun {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	b := &begun{t: t, w: thinpooltest.New(t), ctx: ctx}
	check(t, thinpooltest.Prepare(ctx, b.w.Host(), b.w.Root, b.w.Blocks(), true))
	var err error
	b.pool, err = thinpool.Open(ctx, b.w.Host(), b.w.Root, thinpooltest.CrashPool)
	check(t, err)
	b.waiting, b.release, err = b.pool.Holding(ctx)
	check(t, err)
	return b
}

// together runs all of them in one transaction, if that is possible.
func (b *begun) together(all ...func(context.Context) error) []error {
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
func (b *begun) snapshot(origin, name string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := b.pool.Snapshot(ctx, origin, name, thinpool.SnapshotOptions{Keep: thinpool.Keep{
			With: func(tx *thinpool.Tx, v thinpool.VolumeRecord) error { return tx.Put(companions, v.Name, v.ID) }}})
		return err
	}
}

// state returns the transaction id and the volumes whose names begin with "s", with
// their documents.
func (b *begun) state() (tx uint64, names []string) {
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
			b.t.Errorf("volume %s, id %d, has the document %d %t", v.Name, v.ID, id, documented)
		} else if documented {
			names = append(names, v.Name)
			delete(documents, v.Name)
		}
	}
	if len(documents) != 0 {
		b.t.Errorf("documents without volumes: %v", documents)
	}
	return status.Kernel.TransactionID, names
}

func wantNames(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("there are %v, not %v", got, want)
	}
}

// Those who come at the same moment take one transaction; an origin that may be
// written stands still once for all of its snapshots.
func TestBatch(t *testing.T) {
	b := newBegun(t)
	before, _ := b.state()
	var suspends, messages atomic.Int32
	b.w.Kernel.SetFault(func(c dmtest.Call) error {
		if c.Phase == dmtest.Before && c.Op == "suspend" {
			suspends.Add(1)
		}
		if c.Phase == dmtest.Before && c.Op == "message" {
			messages.Add(1)
		}
		return nil
	})
	for _, err := range b.together(b.snapshot("base", "s1"), b.snapshot("base", "s2"), b.snapshot("idle", "s3"), b.snapshot("base", "s4")) {
		check(t, err)
	}
	b.w.Kernel.SetFault(nil)
	after, names := b.state()
	wantNames(t, names, "s1", "s2", "s3", "s4")
	if after != before+1 {
		t.Errorf("%d transactions", after-before)
	}
	if suspends.Load() != 2 || messages.Load() != 5 {
		t.Errorf("%d suspensions and %d messages, not 2 and 5", suspends.Load(), messages.Load())
	}
}

// A change that cannot be made is told so, and the others are made.
func TestBatchWithInvalidChange(t *testing.T) {
	b := newBegun(t)
	before, _ := b.state()
	own := errors.New("this one will not")
	refuses := func(ctx context.Context) error {
		_, err := b.pool.Snapshot(ctx, "base", "s9", thinpool.SnapshotOptions{Keep: thinpool.Keep{
			With: func(tx *thinpool.Tx, v thinpool.VolumeRecord) error {
				return errors.Join(tx.Put(companions, v.Name, v.ID), own)
			}}})
		return err
	}
	faults := b.together(b.snapshot("base", "s1"), b.snapshot("base", "s1"), refuses, b.snapshot("idle", "s2"))
	exists := 0
	for i, err := range faults[:2] {
		switch {
		case errors.Is(err, fault.Exists):
			exists++
		case err != nil:
			t.Errorf("%d: %v", i, err)
		}
	}
	if exists != 1 || !errors.Is(faults[2], own) || faults[3] != nil {
		t.Errorf("they said %v", faults)
	}
	after, names := b.state()
	wantNames(t, names, "s1", "s2")
	if after != before+1 {
		t.Errorf("%d transactions", after-before)
	}
}

// What the kernel refuses is undone for all, and each is tried by itself.
func TestBatchRejectedByKernel(t *testing.T) {
	for _, refused := range []error{fault.Exists, fault.Full} {
		b := newBegun(t)
		before, _ := b.state()
		var creations atomic.Int32
		b.w.Kernel.SetFault(func(c dmtest.Call) error {
			if c.Phase == dmtest.Before && strings.HasPrefix(c.Detail, "create_snap") && creations.Add(1) == 2 {
				return refused
			}
			return nil
		})
		for _, err := range b.together(b.snapshot("base", "s1"), b.snapshot("base", "s2"), b.snapshot("idle", "s3")) {
			check(t, err)
		}
		b.w.Kernel.SetFault(nil)
		after, names := b.state()
		wantNames(t, names, "s1", "s2", "s3")
		if after != before+3 || creations.Load() != 5 {
			t.Errorf("%d transactions, %d messages", after-before, creations.Load())
		}
		report, err := b.pool.Check(b.ctx)
		check(t, err)
		if len(report.Findings) != 0 {
			t.Errorf("%+v", report.Findings)
		}
	}
}

// Documents alone do not share a transaction that may be undone.
func TestBatchSeparatesDocuments(t *testing.T) {
	b := newBegun(t)
	failing := errors.New("the kernel is gone")
	b.w.Kernel.SetFault(func(c dmtest.Call) error {
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
	faults := b.together(document("a"), b.snapshot("base", "s1"), document("b"), b.snapshot("base", "s2"))
	if faults[0] != nil || faults[2] != nil || !errors.Is(faults[1], failing) || !errors.Is(faults[3], failing) {
		t.Errorf("they said %v", faults)
	}
	b.w.Kernel.SetFault(nil)
	_, names := b.state()
	wantNames(t, names)
	check(t, b.pool.View(b.ctx, func(tx *thinpool.Tx) error {
		if n := tx.Count("own"); n != 2 {
			t.Errorf("%d documents", n)
		}
		return nil
	}))
}

// Whoever gives up before his turn leaves the others alone.
func TestBatchCanceled(t *testing.T) {
	b := newBegun(t)
	impatient, cancel := context.WithCancel(b.ctx)
	gaveUp := make(chan struct{}, 2)
	leave := func(name string) func(context.Context) error {
		return func(context.Context) error {
			err := b.snapshot("base", name)(impatient)
			gaveUp <- struct{}{}
			return err
		}
	}
	go func() { // both have left before anything is done
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
			t.Errorf("%d: %v", i, err)
		}
	}
	_, names := b.state()
	wantNames(t, names, "s2", "s4")
}

// A process that is stopped while it works for several leaves all done or all
// undone.
func TestBatchStoppedAtEveryStep(t *testing.T) {
	for _, phase := range []thinpooltest.Phase{thinpooltest.Before, thinpooltest.After} {
		for _, power := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/power cut %t", [...]string{"before", "after"}[phase], power), func(t *testing.T) {
				t.Parallel()
				n := 1
				for stoppedTogether(t, n, phase, power) {
					n++
				}
				if n < 8 && !t.Failed() {
					t.Errorf("only %d steps", n-1)
				}
			})
		}
	}
}

func stoppedTogether(t *testing.T, n int, phase thinpooltest.Phase, power bool) bool {
	t.Helper()
	b := newBegun(t)
	hold := b.release
	b.release = func() error {
		b.w.StopAt(n, phase)
		return hold()
	}
	faults := b.together(b.snapshot("base", "s1"), b.snapshot("base", "s2"), b.snapshot("idle", "s3"))
	step, stopped := b.w.Restart()
	if power {
		b.w.PowerOff(t)
	}
	fault := func(format string, args ...any) {
		t.Helper()
		t.Errorf("stopped %s step %d (%s), they said %v: %s", [...]string{"before", "after"}[phase], n, step, faults, fmt.Sprintf(format, args...))
	}
	if err := thinpooltest.Reopen(b.ctx, b.w.Host(), b.w.Root); err != nil {
		fault("%v", err)
	}
	if _, err := thinpooltest.Inspect(b.ctx, b.w.Host(), b.w.Root); err != nil {
		fault("%v", err)
	}
	var err error
	b.pool, err = thinpool.Open(b.ctx, b.w.Host(), b.w.Root, thinpooltest.CrashPool)
	check(t, err)
	_, names := b.state()
	if len(names) != 0 && len(names) != 3 {
		fault("there are %v", names)
	}
	for i, err := range faults {
		if err == nil && len(names) == 0 {
			fault("%d was acknowledged, and is not there", i)
		}
	}
	tearDown(b.ctx, t, b.w, fault)
	return stopped && !t.Failed()
}

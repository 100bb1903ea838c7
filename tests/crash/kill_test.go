//go:build kernel

package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
)

// TestKilled kills a process before a step of an operation. The operation is then done or
// undone, nothing acknowledged is lost, and nothing is leaked. It kills at every second
// step: at odd steps in one operation, at even ones in the next. With THINCTL_EVERY_STEP it
// kills at every step, as the tests on the kernel in memory always do.
func TestKilled(t *testing.T) {
	host, letGo, err := OpenHost()
	if err != nil {
		t.Fatal(err)
	}
	defer letGo()
	root := t.TempDir()
	// One pool serves all kills, so that damage that a check has missed is still there for
	// the next checks.
	for i, operation := range thinpooltest.Operations() {
		first, stride := 1+i%2, max(2, operation.Stride)
		if os.Getenv("THINCTL_EVERY_STEP") != "" {
			first, stride = 1, 1
		}
		t.Run(operation.Name, func(t *testing.T) {
			began := time.Now()
			kills := 0
			for n := first; ; n += stride {
				kills++
				more, err := killOnce(t, host, root, operation, n)
				if err != nil {
					t.Fatal(err)
				}
				if !more {
					t.Logf("%d kills in %s", kills, time.Since(began).Round(time.Millisecond))
					return
				}
			}
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	names, err := thinpool.List(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := destroyChecked(ctx, host, root, name); err != nil {
			t.Error(err)
		}
	}
	if err := NothingLeft(ctx, root); err != nil {
		t.Error(err)
	}
}

// killOnce kills a process before the n-th step of the operation, and verifies
// what the next process finds. It reports whether there was such a step.
func killOnce(t *testing.T, host thinpool.Host, root string, operation thinpooltest.Operation, n int) (more bool,
	err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := thinpooltest.Prepare(ctx, host, root, Marks{}, operation.Spare); err != nil {
		return false, fmt.Errorf("preparing: %w", err)
	}
	before, err := thinpooltest.Inspect(ctx, host, root)
	if err != nil {
		return false, fmt.Errorf("prepared: %w", err)
	}
	var load *writer
	var written uint64 // before the operation began
	if operation.Writing {
		if load, err = startWriter(ctx, before.Volumes["base"]); err != nil {
			return false, err
		}
		written = load.acknowledged.Load()
	}
	step, err := killAt(ctx, t, root, operation, n)
	if err != nil {
		return false, err
	}
	err = thinpooltest.Reopen(ctx, host, root)
	if load != nil {
		last, ended := load.end(ctx)
		err = errors.Join(err, ended)
		if err == nil {
			err = thinpooltest.WithPool(ctx, host, root, thinpooltest.CrashPool, func(pool *thinpool.Pool) error {
				return moments(ctx, pool, written, last)
			})
		}
	}
	if err == nil {
		err = verify(ctx, host, root, operation, before, step == acknowledged)
	}
	if err != nil {
		return false, fmt.Errorf("killed at %s: %w", step, err)
	}
	return step != acknowledged, nil
}

// verify compares the pool with its state before the operation.
func verify(ctx context.Context, host thinpool.Host, root string, operation thinpooltest.Operation,
	before thinpooltest.State, told bool) error {
	s, err := thinpooltest.Inspect(ctx, host, root)
	if err != nil {
		return err
	}
	done, undone := operation.Done(before, s), operation.Undone(before, s)
	switch {
	case done == undone:
		return fmt.Errorf("done %v, undone %v: %+v", done, undone, s)
	case told && !done:
		return fmt.Errorf("acknowledged but not done: %+v", s)
	}
	if err := thinpooltest.ReadBack(ctx, host, root, Marks{}, &s); err != nil {
		return err
	}
	if err := Leaks(root); err != nil {
		return err
	}
	return thinpooltest.WithPool(ctx, host, root, thinpooltest.CrashPool, func(pool *thinpool.Pool) error {
		return idleCheck(ctx, host, pool)
	})
}

// idleCheck runs thin_check on the metadata of a pool that is active but idle: committed
// metadata stay as they are on disk until the next commit.
func idleCheck(ctx context.Context, host thinpool.Host, pool *thinpool.Pool) error {
	status, err := pool.Status(ctx)
	if err != nil {
		return err
	}
	if _, _, err := host.Kernel.Status(ctx, dm.ByName(status.Device), dm.StatusOptions{}); err != nil {
		return err
	}
	return ThinCheck(ctx, pool)
}

// moments verifies that base has all that was acknowledged, and that a snapshot of it shows
// one single moment of the operation.
func moments(ctx context.Context, pool *thinpool.Pool, first, last uint64) error {
	base, err := pool.ActivateVolume(ctx, "base")
	if err != nil {
		return err
	}
	newest, err := momentOf(base)
	if err != nil {
		return err
	}
	if newest != last {
		return fmt.Errorf("writes in base: got up to %d, want at least the acknowledged %d", newest, last)
	}
	taken, err := pool.ActivateVolume(ctx, "new")
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	seen, err := momentOf(taken)
	if err == nil && (seen < first || seen > last) {
		err = fmt.Errorf("writes in the snapshot: got up to %d, want between %d and %d", seen, first, last)
	}
	return err
}

// destroyChecked deactivates, runs thin_check and destroys.
func destroyChecked(ctx context.Context, host thinpool.Host, root, name string) error {
	return thinpooltest.WithPool(ctx, host, root, name, func(pool *thinpool.Pool) error {
		if err := pool.Deactivate(ctx); err != nil {
			return err
		}
		return errors.Join(ThinCheck(ctx, pool), pool.Destroy(ctx))
	})
}

package thinpool_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/testkit/dmtest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
	"thinctl/units"
)

func setPolicy(t *testing.T, pool *thinpool.Pool, errorIfFull, want bool) {
	t.Helper()
	changed, err := pool.SetFullPolicy(t.Context(), errorIfFull)
	check(t, err)
	status, err := pool.Status(t.Context())
	check(t, err)
	if changed != want || status.Kernel.ErrorIfNoSpace != errorIfFull {
		t.Errorf("to %t: got changed %t, kernel policy %t", errorIfFull, changed, status.Kernel.ErrorIfNoSpace)
	}
}

func TestSetFullPolicy(t *testing.T) {
	f, pool := reserved(t, nil)
	base, err := filled(t, f, pool, "base", 300)
	if !errors.Is(err, dmtest.ErrWouldBlock) {
		t.Fatal(err)
	}
	setPolicy(t, pool, false, false)
	setPolicy(t, pool, true, true)
	if err := f.Kernel.WriteStamp(base.Dev, 256, 257); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a write to the full pool: %v", err)
	}
	stillThere(t, f, base, 256)
	// An extension keeps it, and so does setting it again.
	_, err = pool.Extend(t.Context(), thinpool.ExtendOptions{Data: 32 * units.MiB})
	check(t, err)
	setPolicy(t, pool, true, false)
	check(t, f.Kernel.WriteStamp(base.Dev, 256, 257))
	// The next activation uses the policy with which the pool was created.
	f.PowerOff(t)
	check(t, pool.Activate(t.Context()))
	setPolicy(t, pool, false, false)
}

// TestSetFullPolicyUnsupported uses a thin-pool before 1.10, where a full pool can only
// queue.
func TestSetFullPolicyUnsupported(t *testing.T) {
	f := thinpooltest.NewOn(t, oldKernels()["3.10, as first released"])
	pool, err := thinpool.Create(t.Context(), f.Host(), f.Root, "old", thinpooltest.SmallPool())
	check(t, err)
	_, err = pool.SetFullPolicy(t.Context(), true)
	wantError(t, err, []error{fault.Unsupported}, "old", "1.10")
	setPolicy(t, pool, false, false)
}

// TestSetFullPolicyAfterItsTimeout sets the policy again after the pool has queued for too
// long. The timeout changes the status, but not the table.
func TestSetFullPolicyAfterItsTimeout(t *testing.T) {
	f, pool := reserved(t, nil)
	_, err := filled(t, f, pool, "base", 300)
	if !errors.Is(err, dmtest.ErrWouldBlock) {
		t.Fatal(err)
	}
	status, err := pool.Status(t.Context())
	check(t, err)
	check(t, f.Kernel.ExpireNoSpace(status.Dev))
	setPolicy(t, pool, true, true)
	setPolicy(t, pool, false, true)
}

func TestSetFullPolicyRefused(t *testing.T) {
	f, pool := reserved(t, nil)
	status, err := pool.Status(t.Context())
	check(t, err)
	check(t, f.Kernel.FailMetadata(status.Dev))
	if _, err := pool.SetFullPolicy(t.Context(), true); !errors.Is(err, thinpool.ErrNeedsCheck) {
		t.Errorf("needs check: %v", err)
	}
	check(t, pool.Deactivate(t.Context()))
	if _, err := pool.SetFullPolicy(t.Context(), true); !errors.Is(err, thinpool.ErrInactive) {
		t.Errorf("inactive: %v", err)
	}
}

func TestReactivate(t *testing.T) {
	f, pool := reserved(t, nil)
	reactivate := func(want bool) {
		t.Helper()
		wanted, err := pool.Reactivate(t.Context())
		check(t, err)
		status, err := pool.Status(t.Context())
		check(t, err)
		if wanted != want || status.Active != want {
			t.Errorf("wanted %t, active %t, want %t", wanted, status.Active, want)
		}
	}
	reactivate(true)
	f.PowerOff(t)
	reactivate(true)
	check(t, pool.Deactivate(t.Context()))
	reactivate(false)
}

func TestReleaseForgotten(t *testing.T) {
	f, pool := reserved(t, nil)
	held := func() uint64 {
		t.Helper()
		status, err := pool.Status(t.Context())
		check(t, err)
		return status.Kernel.HeldRoot
	}
	release := func(foreign bool) {
		t.Helper()
		block, err := pool.ReleaseForgotten(t.Context())
		if err != nil || (block != 0) != foreign || block != held() {
			t.Errorf("got block %d, %v; block %d is held", block, err, held())
		}
	}
	release(false)
	// A snapshot of a killed reading.
	_ = pool.ReadMetadata(t.Context(), func(*thinpool.Reading) error { f.StopAt(1, thinpooltest.Before); return nil })
	f.Restart()
	if held() == 0 {
		t.Fatal("a killed reading left no metadata snapshot")
	}
	release(false)
	// A snapshot of a reading in progress.
	check(t, pool.ReadMetadata(t.Context(), func(*thinpool.Reading) error {
		if block, err := pool.ReleaseForgotten(t.Context()); block != 0 || err != nil || held() == 0 {
			t.Errorf("in progress: got block %d, %v, held %d", block, err, held())
		}
		return nil
	}))
	// A snapshot of another program.
	status, err := pool.Status(t.Context())
	check(t, err)
	_, err = f.Kernel.Message(t.Context(), dm.ByDev(status.Dev), "reserve_metadata_snap")
	check(t, err)
	release(true)
}

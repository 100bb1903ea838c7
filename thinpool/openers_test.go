package thinpool_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/filelock"
	"thinctl/thinpool"
)

// generous is a timeout that no test reaches, because the awaited event happens.
const generous = time.Hour

// removals returns the operations that need a closed device, by name. Each runs on the pool
// vault with the active volume base.
func removals() map[string]func(ctx context.Context, pool *thinpool.Pool) error {
	return map[string]func(ctx context.Context, pool *thinpool.Pool) error{
		"deactivate a volume": func(ctx context.Context, pool *thinpool.Pool) error { return pool.DeactivateVolume(ctx, "base") },
		"remove a volume": func(ctx context.Context, pool *thinpool.Pool) error {
			removal, err := pool.RemoveVolume(ctx, "base", thinpool.RemoveOptions{})
			if err == nil && !removal.Reaped {
				err = errors.New("its blocks are not back")
			}
			return err
		},
		"deactivate the pool": func(ctx context.Context, pool *thinpool.Pool) error { return pool.Deactivate(ctx) },
		"destroy the pool":    func(ctx context.Context, pool *thinpool.Pool) error { return pool.Destroy(ctx) },
		"reap a volume": func(ctx context.Context, pool *thinpool.Pool) error {
			removals, err := pool.RemoveVolumes(ctx, []string{"base"}, thinpool.RemoveOptions{Deferred: true, Later: true}, nil)
			if err != nil {
				return err
			}
			waiting, err := pool.ReapVolumes(ctx, removals[0].Volume.ID)
			if err == nil && len(waiting) > 0 {
				err = errors.New("it still waits")
			}
			return err
		},
		"reap all volumes": func(ctx context.Context, pool *thinpool.Pool) error {
			_, err := pool.RemoveVolumes(ctx, []string{"base"}, thinpool.RemoveOptions{Deferred: true, Later: true}, nil)
			if err != nil {
				return err
			}
			reaped, waiting, err := pool.Reap(ctx)
			if err == nil && (len(reaped) != 1 || len(waiting) > 0) {
				err = errors.New("it still waits")
			}
			return err
		},
	}
}

// reopened opens the pool again with another host.
func (f *fixture) reopened(host thinpool.Host) *thinpool.Pool {
	f.t.Helper()
	pool, err := thinpool.Open(f.t.Context(), host, f.Root, "vault")
	check(f.t, err)
	f.t.Cleanup(func() { pool.Close(context.WithoutCancel(f.t.Context())) })
	return pool
}

// TestOpenersAreWaitedFor checks that an operation succeeds if the open handle is closed
// while it waits. It must hold no lock of the pool in the meantime.
func TestOpenersAreWaitedFor(t *testing.T) {
	for name, operation := range removals() {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			release, err := f.Kernel.Hold(f.base.Dev)
			check(t, err)
			asked := 0
			f.host.BusyTimeout = generous
			f.host.Holders = func(_ context.Context, dev blockdev.Number) (thinpool.Holding, error) {
				if asked++; dev != f.base.Dev {
					t.Errorf("got a query for the holders of %s, want %s", dev, f.base.Dev)
				}
				for _, file := range []string{"vault/lock", ".lock"} {
					lock, err := filelock.Try(filepath.Join(f.Root, file), filelock.Range{})
					if err != nil {
						t.Errorf("while it waits: %v", err)
						continue
					}
					check(t, lock.Release())
				}
				release()
				return thinpool.Holding{Processes: []string{"blkid (PID 7)"}}, nil
			}
			if err := operation(t.Context(), f.reopened(f.host)); err != nil {
				t.Error(err)
			}
			if asked != 1 {
				t.Errorf("got %d queries for the holders, want 1", asked)
			}
		})
	}
}

// TestOpenersOfThePool checks that an operation waits for the pool's own device and for its
// loop devices too.
func TestOpenersOfThePool(t *testing.T) {
	for name, hold := range map[string]func(*fixture) (blockdev.Number, error){
		"pool": func(f *fixture) (blockdev.Number, error) {
			info, err := f.Kernel.Info(f.t.Context(), dm.ByName("thinctl-vault"))
			return info.Dev, err
		},
		"loop": func(f *fixture) (blockdev.Number, error) {
			loops, err := f.Loops.Find(f.t.Context(), f.file("data"))
			if err != nil {
				return blockdev.Number{}, err
			}
			return blockdev.Number(loops[0].Number), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			dev, err := hold(f)
			check(t, err)
			release, err := f.Kernel.Hold(dev)
			check(t, err)
			f.host.BusyTimeout = generous
			f.host.Holders = func(_ context.Context, got blockdev.Number) (thinpool.Holding, error) {
				if got != dev {
					t.Errorf("got a query for the holders of %s, want %s", got, dev)
				}
				if name == "pool" { // the operation finds it open before it removes anything
					if _, err := f.Kernel.Info(t.Context(), dm.ByName("thinctl-vault-base")); err != nil {
						t.Errorf("the volume's device: %v", err)
					}
				}
				release()
				return thinpool.Holding{}, nil
			}
			check(t, f.reopened(f.host).Deactivate(t.Context()))
		})
	}
}

// TestOpenersAreNamed checks that an operation names the holders at the timeout and changes
// nothing. It refuses a mounted device, and one below another device, without a wait.
func TestOpenersAreNamed(t *testing.T) {
	for _, held := range []struct {
		name    string
		holding thinpool.Holding
		bound   time.Duration
		asked   int
		texts   []string
	}{
		{"handle", thinpool.Holding{Processes: []string{"blkid (PID 7)"}}, 50 * time.Millisecond, 2,
			[]string{"thinctl-vault-base is open: in use by blkid (PID 7)", "stop the process"}},
		{"mount", thinpool.Holding{Mounts: []string{"/mnt/web"}, Processes: []string{"nginx (PID 8)"}}, generous, 1,
			[]string{"mounted at /mnt/web, in use by nginx (PID 8)", "unmount /mnt/web, then retry"}},
		{"device", thinpool.Holding{Devices: []string{"dm-7 (vg-root)"}}, generous, 1,
			[]string{"under dm-7 (vg-root)", "remove dm-7 (vg-root), then retry"}},
		{"nothing seen", thinpool.Holding{}, -1, 1, []string{"no process that has it open was found", "close it, then retry"}},
	} {
		for name, operation := range removals() {
			if strings.HasPrefix(name, "reap") {
				continue // Reap never refuses
			}
			t.Run(held.name+"/"+name, func(t *testing.T) {
				f := newFixture(t)
				release, err := f.Kernel.Hold(f.base.Dev)
				check(t, err)
				defer release()
				asked := 0
				f.host.BusyTimeout = held.bound
				f.host.Holders = func(context.Context, blockdev.Number) (thinpool.Holding, error) { asked++; return held.holding, nil }
				err = operation(t.Context(), f.reopened(f.host))
				wantError(t, err, []error{fault.Busy}, held.texts...)
				if asked != held.asked {
					t.Errorf("got %d queries for the holders, want %d", asked, held.asked)
				}
				volume, err := f.vault.VolumeStatus(t.Context(), "base")
				if err != nil || !volume.Active {
					t.Errorf("after the refusal: got volume %+v, %v; want it active as before", volume.Volume, err)
				}
			})
		}
	}
}

// TestOpenersAndContext checks that a wait ends with its context.
func TestOpenersAndContext(t *testing.T) {
	f := newFixture(t)
	_, err := f.Kernel.Hold(f.base.Dev)
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	f.host.BusyTimeout = generous
	f.host.Holders = func(context.Context, blockdev.Number) (thinpool.Holding, error) {
		cancel()
		return thinpool.Holding{}, nil
	}
	err = f.reopened(f.host).DeactivateVolume(ctx, "base")
	if !errors.Is(err, context.Canceled) || !errors.Is(err, fault.Busy) {
		t.Errorf("got %v, want %v and %v", err, context.Canceled, fault.Busy)
	}
}

// TestOpenedWhileItIsRemoved checks that a volume is removed and reaped, also if a process
// opens it between the check and the removal.
func TestOpenedWhileItIsRemoved(t *testing.T) {
	f := newFixture(t)
	var release func()
	f.host.Kernel = opening{f.host.Kernel, func() {
		if release == nil {
			var err error
			release, err = f.Kernel.Hold(f.base.Dev)
			check(t, err)
		}
	}}
	f.host.BusyTimeout = generous
	f.host.Holders = func(context.Context, blockdev.Number) (thinpool.Holding, error) {
		release()
		return thinpool.Holding{}, nil
	}
	removal, err := f.reopened(f.host).RemoveVolume(t.Context(), "base", thinpool.RemoveOptions{})
	if err != nil || !removal.Reaped {
		t.Errorf("got %+v, %v; want it reaped", removal, err)
	}
}

// opening is a kernel that calls open before each removal of a device.
type opening struct {
	dm.Kernel
	open func()
}

func (k opening) Remove(ctx context.Context, ref dm.Ref, o dm.RemoveOptions) (bool, error) {
	k.open()
	return k.Kernel.Remove(ctx, ref, o)
}

// TestReapWaitsOnce checks that Reap waits once for an open device, and not in each round.
func TestReapWaitsOnce(t *testing.T) {
	f := newFixture(t)
	_, err := f.Kernel.Hold(f.base.Dev)
	check(t, err)
	asked := 0
	f.host.BusyTimeout = time.Millisecond
	f.host.Holders = func(context.Context, blockdev.Number) (thinpool.Holding, error) {
		asked++
		return thinpool.Holding{}, nil
	}
	pool := f.reopened(f.host)
	_, err = pool.RemoveVolumes(t.Context(), []string{"base"}, thinpool.RemoveOptions{Deferred: true, Later: true}, nil)
	check(t, err)
	for round := range 3 {
		_, waiting, err := pool.Reap(t.Context())
		if err != nil || len(waiting) != 1 {
			t.Errorf("round %d: got waiting %v, %v; want 1 volume", round, waiting, err)
		}
		if round == 0 {
			if asked == 0 {
				t.Error("got no query for the holders, want a wait")
			}
			asked = 0
		}
	}
	if asked != 0 {
		t.Errorf("got %d queries for the holders, want no second wait", asked)
	}
}

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

// removals are the operations that need a device closed. Each runs on the pool
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
func (s *fixture) reopened(host thinpool.Host) *thinpool.Pool {
	s.t.Helper()
	pool, err := thinpool.Open(s.t.Context(), host, s.Root, "vault")
	check(s.t, err)
	s.t.Cleanup(func() { pool.Close(context.WithoutCancel(s.t.Context())) })
	return pool
}

// TestOpenersAreWaitedFor checks that an operation succeeds if the open handle is closed
// while it waits. It must hold no lock of the pool in the meantime.
func TestOpenersAreWaitedFor(t *testing.T) {
	for name, operation := range removals() {
		t.Run(name, func(t *testing.T) {
			s := newFixture(t)
			release, err := s.Kernel.Hold(s.base.Dev)
			check(t, err)
			asked := 0
			s.host.BusyTimeout = generous
			s.host.Holders = func(_ context.Context, dev blockdev.Number) (thinpool.Holding, error) {
				if asked++; dev != s.base.Dev {
					t.Errorf("got a query for the holders of %s, want %s", dev, s.base.Dev)
				}
				for _, file := range []string{"vault/lock", ".lock"} {
					lock, err := filelock.Try(filepath.Join(s.Root, file), filelock.Range{})
					if err != nil {
						t.Errorf("while it waits: %v", err)
						continue
					}
					check(t, lock.Release())
				}
				release()
				return thinpool.Holding{Processes: []string{"blkid (PID 7)"}}, nil
			}
			if err := operation(t.Context(), s.reopened(s.host)); err != nil {
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
		"pool": func(s *fixture) (blockdev.Number, error) {
			info, err := s.Kernel.Info(s.t.Context(), dm.ByName("thinctl-vault"))
			return info.Dev, err
		},
		"loop": func(s *fixture) (blockdev.Number, error) {
			loops, err := s.Loops.Find(s.t.Context(), s.file("data"))
			if err != nil {
				return blockdev.Number{}, err
			}
			return blockdev.Number(loops[0].Number), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFixture(t)
			dev, err := hold(s)
			check(t, err)
			release, err := s.Kernel.Hold(dev)
			check(t, err)
			s.host.BusyTimeout = generous
			s.host.Holders = func(_ context.Context, got blockdev.Number) (thinpool.Holding, error) {
				if got != dev {
					t.Errorf("got a query for the holders of %s, want %s", got, dev)
				}
				if name == "pool" { // the operation finds it open before it removes anything
					if _, err := s.Kernel.Info(t.Context(), dm.ByName("thinctl-vault-base")); err != nil {
						t.Errorf("the volume's device: %v", err)
					}
				}
				release()
				return thinpool.Holding{}, nil
			}
			check(t, s.reopened(s.host).Deactivate(t.Context()))
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
				continue // it refuses nothing
			}
			t.Run(held.name+"/"+name, func(t *testing.T) {
				s := newFixture(t)
				release, err := s.Kernel.Hold(s.base.Dev)
				check(t, err)
				defer release()
				asked := 0
				s.host.BusyTimeout = held.bound
				s.host.Holders = func(context.Context, blockdev.Number) (thinpool.Holding, error) { asked++; return held.holding, nil }
				err = operation(t.Context(), s.reopened(s.host))
				wantError(t, err, []error{fault.Busy}, held.texts...)
				if asked != held.asked {
					t.Errorf("got %d queries for the holders, want %d", asked, held.asked)
				}
				volume, err := s.vault.VolumeStatus(t.Context(), "base")
				if err != nil || !volume.Active {
					t.Errorf("after the refusal: got volume %+v, %v; want it active as before", volume.Volume, err)
				}
			})
		}
	}
}

// TestOpenersAndContext checks that a wait ends with its context.
func TestOpenersAndContext(t *testing.T) {
	s := newFixture(t)
	_, err := s.Kernel.Hold(s.base.Dev)
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	s.host.BusyTimeout = generous
	s.host.Holders = func(context.Context, blockdev.Number) (thinpool.Holding, error) {
		cancel()
		return thinpool.Holding{}, nil
	}
	err = s.reopened(s.host).DeactivateVolume(ctx, "base")
	if !errors.Is(err, context.Canceled) || !errors.Is(err, fault.Busy) {
		t.Errorf("got %v, want %v and %v", err, context.Canceled, fault.Busy)
	}
}

// TestOpenedWhileItIsRemoved checks that a volume is removed and reaped, also if a process
// opens it between the check and the removal.
func TestOpenedWhileItIsRemoved(t *testing.T) {
	s := newFixture(t)
	var release func()
	s.host.Kernel = opening{s.host.Kernel, func() {
		if release == nil {
			var err error
			release, err = s.Kernel.Hold(s.base.Dev)
			check(t, err)
		}
	}}
	s.host.BusyTimeout = generous
	s.host.Holders = func(context.Context, blockdev.Number) (thinpool.Holding, error) {
		release()
		return thinpool.Holding{}, nil
	}
	removal, err := s.reopened(s.host).RemoveVolume(t.Context(), "base", thinpool.RemoveOptions{})
	if err != nil || !removal.Reaped {
		t.Errorf("got %+v, %v; want it reaped", removal, err)
	}
}

// opening opens a device before each removal.
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
	s := newFixture(t)
	_, err := s.Kernel.Hold(s.base.Dev)
	check(t, err)
	asked := 0
	s.host.BusyTimeout = time.Millisecond
	s.host.Holders = func(context.Context, blockdev.Number) (thinpool.Holding, error) {
		asked++
		return thinpool.Holding{}, nil
	}
	pool := s.reopened(s.host)
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

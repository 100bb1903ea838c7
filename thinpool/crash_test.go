package thinpool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"thinctl/dm"
	"thinctl/thinpool"
	"thinctl/thinpool/store"
	"thinctl/thinpool/thinpooltest"
	"thinctl/units"
)

const poolName = "crash-pool"

func smallPool() thinpool.CreateOptions {
	return thinpool.CreateOptions{DataSize: 64 * units.MiB, MetadataSize: 4 * units.MiB, BaseSize: 16 * units.MiB, Reserve: &store.Reserve{}}
}

// A process that is stopped at any step of any operation leaves it done or
// undone, after a restart and after a power cut; nothing acknowledged is lost,
// nothing is leaked.
func TestStoppedAtEveryStep(t *testing.T) {
	operations := []struct {
		name string
		run  func(ctx context.Context, w *thinpooltest.World) error
		// done and undone tell which of the two the world shows; exactly one must.
		done   func(s scene) bool
		undone func(s scene) bool
	}{
		{
			name: "create pool",
			run: func(ctx context.Context, w *thinpooltest.World) error {
				_, err := thinpool.Create(ctx, w.Host(), w.Root, "second", smallPool())
				return err
			},
			done:   func(s scene) bool { return s.pools["second"] },
			undone: func(s scene) bool { return !s.pools["second"] },
		},
		{
			name: "destroy pool",
			run: func(ctx context.Context, w *thinpooltest.World) error {
				pool, err := thinpool.Open(ctx, w.Host(), w.Root, "spare")
				if err != nil {
					return err
				}
				return pool.Destroy(ctx)
			},
			done:   func(s scene) bool { return !s.pools["spare"] },
			undone: func(s scene) bool { return s.pools["spare"] },
		},
		{
			name: "create volume",
			run: on(func(ctx context.Context, p *thinpool.Pool) error {
				_, err := p.CreateVolume(ctx, "new", thinpool.VolumeOptions{})
				return err
			}),
			done:   func(s scene) bool { return s.volumes["new"].Size == 16*units.MiB },
			undone: func(s scene) bool { return s.volumes["new"].Name == "" },
		},
		{
			name: "snapshot active origin",
			run: on(func(ctx context.Context, p *thinpool.Pool) error {
				_, err := p.Snapshot(ctx, "base", "new", thinpool.SnapshotOptions{})
				return err
			}),
			done:   func(s scene) bool { return s.volumes["new"].Origin == "base" },
			undone: func(s scene) bool { return s.volumes["new"].Name == "" },
		},
		{
			name: "snapshot inactive origin",
			run: on(func(ctx context.Context, p *thinpool.Pool) error {
				_, err := p.Snapshot(ctx, "idle", "new", thinpool.SnapshotOptions{})
				return err
			}),
			done:   func(s scene) bool { return s.volumes["new"].Origin == "idle" },
			undone: func(s scene) bool { return s.volumes["new"].Name == "" },
		},
		{
			name:   "activate volume",
			run:    on(func(ctx context.Context, p *thinpool.Pool) error { _, err := p.ActivateVolume(ctx, "idle"); return err }),
			done:   func(s scene) bool { return s.volumes["idle"].Active },
			undone: func(s scene) bool { return s.volumes["idle"].Name != "" && !s.volumes["idle"].Active },
		},
		{
			name:   "deactivate volume",
			run:    on(func(ctx context.Context, p *thinpool.Pool) error { return p.DeactivateVolume(ctx, "base") }),
			done:   func(s scene) bool { return s.volumes["base"].Name != "" && !s.volumes["base"].Active },
			undone: func(s scene) bool { return s.volumes["base"].Active },
		},
		{
			name: "resize active volume",
			run: on(func(ctx context.Context, p *thinpool.Pool) error {
				_, err := p.ResizeVolume(ctx, "base", 32*units.MiB)
				return err
			}),
			done:   func(s scene) bool { return s.volumes["base"].Size == 32*units.MiB },
			undone: func(s scene) bool { return s.volumes["base"].Size == 16*units.MiB },
		},
		{
			name: "remove active volume",
			run: on(func(ctx context.Context, p *thinpool.Pool) error {
				_, err := p.RemoveVolume(ctx, "doomed", thinpool.RemoveOptions{})
				return errors.Join(err, p.Close(ctx))
			}),
			done:   func(s scene) bool { return s.volumes["doomed"].Name == "" && s.used == 2 },
			undone: func(s scene) bool { return s.volumes["doomed"].Name != "" && s.used == 4 },
		},
		{
			name: "remove inactive volume",
			run: on(func(ctx context.Context, p *thinpool.Pool) error {
				_, err := p.RemoveVolume(ctx, "idle", thinpool.RemoveOptions{})
				return errors.Join(err, p.Close(ctx))
			}),
			done:   func(s scene) bool { return s.volumes["idle"].Name == "" },
			undone: func(s scene) bool { return s.volumes["idle"].Name != "" },
		},
		{
			name: "extend",
			run: on(func(ctx context.Context, p *thinpool.Pool) error {
				_, err := p.Extend(ctx, thinpool.ExtendOptions{Data: 128 * units.MiB, Metadata: 8 * units.MiB})
				return err
			}),
			done:   func(s scene) bool { return s.data == 128*units.MiB && s.metadata == 8*units.MiB },
			undone: func(s scene) bool { return s.data == 64*units.MiB && s.metadata == 4*units.MiB },
		},
		{
			name:   "deactivate pool",
			run:    on(func(ctx context.Context, p *thinpool.Pool) error { return p.Deactivate(ctx) }),
			done:   func(s scene) bool { return true }, // the test activates it again
			undone: func(s scene) bool { return false },
		},
		{
			name: "activate pool",
			run: on(func(ctx context.Context, p *thinpool.Pool) error {
				if err := p.Deactivate(ctx); err != nil {
					return err
				}
				return p.Activate(ctx)
			}),
			done:   func(s scene) bool { return true },
			undone: func(s scene) bool { return false },
		},
	}
	for _, operation := range operations {
		for _, phase := range []thinpooltest.Phase{thinpooltest.Before, thinpooltest.After} {
			for _, power := range []bool{false, true} {
				name := fmt.Sprintf("%s/%s/%s", operation.name, [...]string{"before", "after"}[phase], map[bool]string{false: "killed", true: "power cut"}[power])
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					for n := 1; ; n++ {
						w := thinpooltest.New(t)
						ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
						stamps := prepare(ctx, t, w)
						w.StopAt(n, phase)
						err := operation.run(ctx, w)
						step, stopped := w.Restart()
						if power {
							w.PowerOff(t)
						}
						where := fmt.Sprintf("stopped %s step %d (%s)", [...]string{"before", "after"}[phase], n, step)
						s := reopen(ctx, t, w, stamps, where)
						done, undone := operation.done(s), operation.undone(s)
						// A device mapper device does not outlive a power cut.
						volatile := power && (operation.name == "activate volume" || operation.name == "deactivate volume")
						switch {
						case volatile:
						case done == undone:
							t.Errorf("%s: done %v, undone %v: %+v", where, done, undone, s)
						case err == nil && !done:
							t.Errorf("%s: acknowledged, yet not done: %+v", where, s)
						}
						tearDown(ctx, t, w, where)
						cancel()
						if t.Failed() {
							t.Fatalf("%s; the operation said: %v", where, err)
						}
						if !stopped {
							if err != nil {
								t.Fatalf("nobody stopped it: %v", err)
							}
							t.Logf("%d steps", n-1)
							return
						}
					}
				})
			}
		}
	}
}

func on(run func(context.Context, *thinpool.Pool) error) func(context.Context, *thinpooltest.World) error {
	return func(ctx context.Context, w *thinpooltest.World) error {
		pool, err := thinpool.Open(ctx, w.Host(), w.Root, poolName)
		if err != nil {
			return err
		}
		return run(ctx, pool)
	}
}

// scene is what a world shows once it has been reopened.
type scene struct {
	pools          map[string]bool
	volumes        map[string]thinpool.Volume
	used           uint64 // data blocks
	data, metadata units.Bytes
}

// prepare makes a pool with an active volume, a volume shared with it that is
// idle, and one to be removed; it returns what was written and acknowledged.
func prepare(ctx context.Context, t *testing.T, w *thinpooltest.World) map[string]uint64 {
	t.Helper()
	pool := must(thinpool.Create(ctx, w.Host(), w.Root, poolName, smallPool()))(t)
	must(thinpool.Create(ctx, w.Host(), w.Root, "spare", smallPool()))(t)
	must(pool.CreateVolume(ctx, "base", thinpool.VolumeOptions{}))(t)
	base := must(pool.ActivateVolume(ctx, "base"))(t)
	check(t, w.Kernel.WriteStamp(base.Dev, 0, 100))
	check(t, w.Kernel.WriteStamp(base.Dev, 255, 101))
	must(pool.Snapshot(ctx, "base", "idle", thinpool.SnapshotOptions{}))(t)
	must(pool.CreateVolume(ctx, "doomed", thinpool.VolumeOptions{}))(t)
	doomed := must(pool.ActivateVolume(ctx, "doomed"))(t)
	check(t, w.Kernel.WriteStamp(doomed.Dev, 0, 1))
	check(t, w.Kernel.WriteStamp(doomed.Dev, 9, 2))
	// A flush, as a file system sends before it acknowledges anything.
	_, _, err := w.Kernel.Status(ctx, dm.ByName("thinctl-crash--pool"), dm.StatusOptions{})
	check(t, err)
	return map[string]uint64{"base": 100, "idle": 100}
}

// reopen does what the next process does, and compares with what was there.
func reopen(ctx context.Context, t *testing.T, w *thinpooltest.World, stamps map[string]uint64, where string) scene {
	t.Helper()
	host := w.Host()
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
	}
	fail(thinpool.Sweep(ctx, host, w.Root))
	s := scene{pools: map[string]bool{}, volumes: map[string]thinpool.Volume{}}
	names, err := thinpool.List(w.Root)
	fail(err)
	for _, name := range names {
		s.pools[name] = true
		pool, err := thinpool.Open(ctx, host, w.Root, name)
		fail(err)
		fail(pool.Activate(ctx))
		fail(pool.Recover(ctx))
	}
	pool, err := thinpool.Open(ctx, host, w.Root, poolName)
	fail(err)
	report, err := pool.Check(ctx)
	fail(err)
	for _, finding := range report.Findings {
		// A half-made device is finished by the next activation of its volume.
		if finding.Code != thinpool.FindUnfinished {
			t.Errorf("%s: %+v", where, finding)
		}
	}
	status, err := pool.Status(ctx)
	fail(err)
	s.used, s.data, s.metadata = status.Kernel.UsedData, status.Data.Total, status.Metadata.Total
	volumes, err := pool.Volumes(ctx)
	fail(err)
	for _, volume := range volumes {
		full, err := pool.VolumeStatus(ctx, volume.Name)
		fail(err)
		if full.Active && full.Dev == (dm.Dev{}) {
			t.Errorf("%s: %s is active without a device", where, volume.Name)
		}
		s.volumes[volume.Name] = volume
	}
	for name, want := range stamps {
		if s.volumes[name].Name == "" {
			if name == "base" {
				t.Errorf("%s: volume %s is lost", where, name)
			}
			continue
		}
		volume, err := pool.ActivateVolume(ctx, name)
		fail(err)
		got, err := w.Kernel.ReadStamp(volume.Dev, 0)
		fail(err)
		if got != want {
			t.Errorf("%s: volume %s reads %d, want %d", where, name, got, want)
		}
	}
	return s
}

// tearDown destroys everything, and looks for what is left.
func tearDown(ctx context.Context, t *testing.T, w *thinpooltest.World, where string) {
	t.Helper()
	names, err := thinpool.List(w.Root)
	check(t, err)
	for _, name := range names {
		pool, err := thinpool.Open(ctx, w.Host(), w.Root, name)
		if err == nil {
			err = pool.Destroy(ctx)
		}
		if err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
	entries, err := w.Kernel.List(ctx)
	check(t, err)
	if len(entries) != 0 || len(w.Loops.Attached()) != 0 {
		t.Errorf("%s: left behind: devices %v, loops %v", where, entries, w.Loops.Attached())
	}
	files, err := os.ReadDir(w.Root)
	check(t, err)
	for _, file := range files {
		if file.Name() != ".lock" {
			t.Errorf("%s: left behind: %s", where, file.Name())
		}
	}
	if violations := w.Kernel.Violations(); len(violations) != 0 {
		t.Errorf("%s: %v", where, violations)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

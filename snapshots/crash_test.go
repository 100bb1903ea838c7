package snapshots_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/internal/testkit/snapshotstest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// operation is a test case: a process is stopped at each step of run.
type operation struct {
	name    string
	prepare func(f *fixture)
	run     func(ctx context.Context, s *snapshots.Snapshotter) error
	// done reports whether the operation is done. It is an error if the operation is neither done nor undone.
	done func(f *fixture) (bool, error)
}

// A process that is stopped at any step of an operation leaves it done or undone, after a restart and after a power
// cut. Nothing is leaked, and the operation can be carried out again.
func TestStoppedAtEveryStep(t *testing.T) {
	for _, o := range operations() {
		snapshotstest.StopAtEveryStep(t, o.name, func(t *testing.T) snapshotstest.Crash {
			f := newFixture(t)
			o.prepare(f)
			check(t, f.S.Close())
			check(t, f.Pool.Close(f.Ctx))
			pool, victim := f.Process(snapshots.Options{})
			return snapshotstest.Crash{
				Fixture: f.Fixture,
				Run: func() error {
					defer pool.Close(f.Ctx)
					defer victim.Close() // the steps of background work count too
					return o.run(f.Ctx, victim)
				},
				Recover:   f.recover,
				Verify:    f.VerifyAll,
				Done:      func() (bool, error) { return o.done(f) },
				Again:     func() error { return o.run(f.Ctx, f.S) },
				RemoveAll: f.RemoveAll,
			}
		})
	}
}

// recover opens the pool as the next process would, activates it and recovers.
func (f *fixture) recover() error {
	f.T.Helper()
	f.Reopen()
	return errors.Join(f.Pool.Activate(f.Ctx), f.S.Recover(f.Ctx))
}

func operations() []operation {
	nothing := func(*fixture) {}
	layers := func(names ...string) func(*fixture) {
		return func(f *fixture) {
			parent := ""
			for _, name := range names {
				f.Layer(name, parent)
				parent = name
			}
		}
	}
	written := func(f *fixture) {
		layers("a")(f)
		mounts, err := f.S.Prepare(f.Ctx, "web", "a")
		check(f.T, err)
		check(f.T, f.Write(mounts, "b"))
	}
	prepare := func(key, parent string, labels map[string]string) func(context.Context, *snapshots.Snapshotter) error {
		return func(ctx context.Context, s *snapshots.Snapshotter) error {
			_, err := s.Prepare(ctx, key, parent, core.WithLabels(labels))
			return err
		}
	}
	commit := func(ctx context.Context, s *snapshots.Snapshotter) error { return s.Commit(ctx, "b", "web") }
	return []operation{
		{name: "the first prepare", prepare: nothing, run: prepare("web", "", nil), done: exists("web")},
		{name: "prepare", prepare: layers("a", "b"), run: prepare("web", "b", nil), done: exists("web", "a", "b")},
		{
			name:    "prepare and grow",
			prepare: layers("a"),
			run: prepare(
				"web",
				"a",
				map[string]string{"containerd.io/snapshot/max-size": fmt.Sprint(uint64(32 * units.MiB))},
			),
			done: exists("web", "a"),
		},
		{name: "view", prepare: layers("a"), done: exists("look", "a"),
			run: func(ctx context.Context, s *snapshots.Snapshotter) error {
				_, err := s.View(ctx, "look", "a")
				return err
			}},
		{name: "remove a view", done: func(f *fixture) (bool, error) {
			present, err := exists("look", "a")(f)
			return !present, err
		}, prepare: func(f *fixture) {
			layers("a")(f)
			_, err := f.S.View(f.Ctx, "look", "a")
			check(f.T, err)
		}, run: func(ctx context.Context, s *snapshots.Snapshotter) error { return s.Remove(ctx, "look") }},
		{name: "fill", prepare: written, done: filled,
			run: func(ctx context.Context, s *snapshots.Snapshotter) error {
				mounts, err := s.Mounts(ctx, "web")
				if err != nil {
					return err
				}
				web, err := s.Active(ctx, mounts)
				if err != nil {
					return err
				}
				return web.Fill(ctx, func(root string) error { return os.WriteFile(filepath.Join(root, "c"), []byte("c"), 0o600) })
			}},
		{name: "commit", prepare: written, run: commit, done: committed},
		{name: "commit after a reboot", run: commit, done: committed,
			prepare: func(f *fixture) {
				written(f)
				f.PowerOff(f.T)
				f.Reopen()
				check(f.T, f.Pool.Activate(f.Ctx))
			}},
		{name: "remove", prepare: written, done: func(f *fixture) (bool, error) {
			present, err := exists("web", "a", "b")(f)
			return !present, err
		}, run: func(ctx context.Context, s *snapshots.Snapshotter) error { return s.Remove(ctx, "web") }},
		{name: "update", prepare: written, done: func(f *fixture) (bool, error) {
			info, err := f.S.Stat(f.Ctx, "web")
			return info.Labels["x"] == "y", err
		}, run: func(ctx context.Context, s *snapshots.Snapshotter) error {
			_, err := s.Update(ctx, core.Info{Name: "web", Labels: map[string]string{"x": "y"}})
			return err
		}},
	}
}

// exists reports whether a snapshot exists, and checks its files if it does.
func exists(key string, files ...string) func(*fixture) (bool, error) {
	return func(f *fixture) (bool, error) {
		_, err := f.S.Stat(f.Ctx, key)
		if errors.Is(err, fault.NotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		mounts, err := f.S.Mounts(f.Ctx, key)
		if err != nil {
			return true, err
		}
		return true, f.Has(mounts, files...)
	}
}

// filled reports whether the snapshot has the file that Fill wrote. It must have the others.
func filled(f *fixture) (bool, error) {
	mounts, err := f.S.Mounts(f.Ctx, "web")
	if err != nil {
		return false, err
	}
	if f.Has(mounts, "a", "b", "c") == nil {
		return true, nil
	}
	return false, f.Has(mounts, "a", "b")
}

// committed reports whether the snapshot is committed. It must have one of its two names, and its files in either case.
func committed(f *fixture) (bool, error) {
	active, err := exists("web", "a", "b")(f)
	if err != nil {
		return false, err
	}
	info, err := f.S.Stat(f.Ctx, "b")
	found := err == nil
	if err != nil && !errors.Is(err, fault.NotFound) {
		return false, err
	}
	if active == found {
		return false, fmt.Errorf("got active: %t, committed: %t; want one of them", active, found)
	}
	if !found {
		return false, nil
	}
	if info.Parent != "a" || info.Kind != core.KindCommitted {
		return true, fmt.Errorf("got %+v, want a committed snapshot with parent a", info)
	}
	view, err := f.S.View(f.Ctx, "look", "b")
	if err != nil {
		return true, err
	}
	return true, errors.Join(f.Has(view, "a", "b"), f.S.Remove(f.Ctx, "look"))
}

// A commit of a mounted snapshot that is stopped at any step ends with one snapshot, and leaves no other volume.
func TestStoppedCommitOfMounted(t *testing.T) {
	for n := 1; ; n += snapshotstest.Stride {
		f := newFixture(t)
		f.Layer("a", "")
		mounts, err := f.S.Prepare(f.Ctx, "web", "a")
		check(t, err)
		target := t.TempDir()
		check(t, f.Files.Mount(f.Ctx, mounts[0].Source, target, filesystem.MountOptions{Type: filesystem.Ext4}))
		check(t, os.WriteFile(filepath.Join(target, "b"), []byte("b"), 0o600))
		f.S.Close()
		pool, victim := f.Process(snapshots.Options{})
		f.StopAt(n, thinpooltest.Before)
		victim.Commit(f.Ctx, "b", "web")
		victim.Close()
		pool.Close(f.Ctx)
		step, stopped := f.Restart()
		err = errors.Join(
			f.recover(),
			f.Files.Unmount(f.Ctx, target, filesystem.UnmountOptions{}),
			f.VerifyAll(),
		)
		if _, fault := committed(f); err != nil || fault != nil {
			t.Fatalf("stopped before step %d (%s): verify: %v; check that it is done or undone: %v", n, step, err, fault)
		}
		check(t, f.RemoveAll())
		if !stopped {
			return
		}
	}
}

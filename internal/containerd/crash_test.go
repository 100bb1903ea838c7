package containerd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/internal/containerd"
	"thinctl/internal/testkit/snapshotstest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// operation is a test case: a process is stopped at each step of run.
type operation struct {
	name    string
	prepare func(f *fixture)
	run     func(ctx context.Context, s *containerd.Snapshotter) error
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
			check(t, f.s.Close())
			check(t, f.pool.Close(f.ctx))
			pool, victim := f.process(containerd.Options{})
			return snapshotstest.Crash{
				Fixture: f.Fixture,
				Run: func() error {
					defer pool.Close(f.ctx)
					defer victim.Close() // the steps of background work count too
					return o.run(f.ctx, victim)
				},
				Recover:   f.recover,
				Verify:    f.verify,
				Done:      func() (bool, error) { return o.done(f) },
				Again:     func() error { return o.run(f.ctx, f.s) },
				RemoveAll: f.removeAll,
			}
		})
	}
}

// recover opens the pool as the next process would, activates it and recovers.
func (f *fixture) recover() error {
	f.t.Helper()
	f.reopen()
	return errors.Join(f.pool.Activate(f.ctx), f.s.Recover(f.ctx))
}

func operations() []operation {
	nothing := func(*fixture) {}
	layers := func(names ...string) func(*fixture) {
		return func(f *fixture) {
			parent := ""
			for _, name := range names {
				f.layer(name, parent)
				parent = name
			}
		}
	}
	written := func(f *fixture) {
		layers("a")(f)
		mounts, err := f.s.Prepare(f.ctx, "web", "a")
		check(f.t, err)
		check(f.t, f.write(mounts, "b"))
	}
	prepare := func(key, parent string, labels map[string]string) func(context.Context, *containerd.Snapshotter) error {
		return func(ctx context.Context, s *containerd.Snapshotter) error {
			_, err := s.Prepare(ctx, key, parent, core.WithLabels(labels))
			return err
		}
	}
	commit := func(ctx context.Context, s *containerd.Snapshotter) error { return s.Commit(ctx, "b", "web") }
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
			run: func(ctx context.Context, s *containerd.Snapshotter) error {
				_, err := s.View(ctx, "look", "a")
				return err
			}},
		{name: "remove a view", done: func(f *fixture) (bool, error) {
			present, err := exists("look", "a")(f)
			return !present, err
		}, prepare: func(f *fixture) {
			layers("a")(f)
			_, err := f.s.View(f.ctx, "look", "a")
			check(f.t, err)
		}, run: func(ctx context.Context, s *containerd.Snapshotter) error { return s.Remove(ctx, "look") }},
		{name: "commit", prepare: written, run: commit, done: committed},
		{name: "commit after a reboot", run: commit, done: committed,
			prepare: func(f *fixture) {
				written(f)
				f.PowerOff(f.t)
				f.reopen()
				check(f.t, f.pool.Activate(f.ctx))
			}},
		{name: "remove", prepare: written, done: func(f *fixture) (bool, error) {
			present, err := exists("web", "a", "b")(f)
			return !present, err
		}, run: func(ctx context.Context, s *containerd.Snapshotter) error { return s.Remove(ctx, "web") }},
		{name: "update", prepare: written, done: func(f *fixture) (bool, error) {
			info, err := f.s.Stat(f.ctx, "web")
			return info.Labels["x"] == "y", err
		}, run: func(ctx context.Context, s *containerd.Snapshotter) error {
			_, err := s.Update(ctx, core.Info{Name: "web", Labels: map[string]string{"x": "y"}})
			return err
		}},
	}
}

// exists reports whether a snapshot exists, and checks its files if it does.
func exists(key string, files ...string) func(*fixture) (bool, error) {
	return func(f *fixture) (bool, error) {
		_, err := f.s.Stat(f.ctx, key)
		if errors.Is(err, fault.NotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		mounts, err := f.s.Mounts(f.ctx, key)
		if err != nil {
			return true, err
		}
		return true, f.has(mounts, files...)
	}
}

// committed reports whether the snapshot is committed. It must have one of its two names, and its files in either case.
func committed(f *fixture) (bool, error) {
	active, err := exists("web", "a", "b")(f)
	if err != nil {
		return false, err
	}
	info, err := f.s.Stat(f.ctx, "b")
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
	view, err := f.s.View(f.ctx, "look", "b")
	if err != nil {
		return true, err
	}
	return true, errors.Join(f.has(view, "a", "b"), f.s.Remove(f.ctx, "look"))
}

// A commit of a mounted snapshot that is stopped at any step ends with one snapshot, and leaves no other volume.
func TestStoppedCommitOfMounted(t *testing.T) {
	for n := 1; ; n += snapshotstest.Stride {
		f := newFixture(t)
		f.layer("a", "")
		mounts, err := f.s.Prepare(f.ctx, "web", "a")
		check(t, err)
		target := t.TempDir()
		check(t, f.Files.Mount(f.ctx, mounts[0].Source, target, filesystem.MountOptions{Type: filesystem.Ext4}))
		check(t, os.WriteFile(filepath.Join(target, "b"), []byte("b"), 0o600))
		f.s.Close()
		pool, victim := f.process(containerd.Options{})
		f.StopAt(n, thinpooltest.Before)
		victim.Commit(f.ctx, "b", "web")
		victim.Close()
		pool.Close(f.ctx)
		step, stopped := f.Restart()
		err = errors.Join(
			f.recover(),
			f.Files.Unmount(f.ctx, target, filesystem.UnmountOptions{}),
			f.verify(),
		)
		if _, fault := committed(f); err != nil || fault != nil {
			t.Fatalf("stopped before step %d (%s): verify: %v; check that it is done or undone: %v", n, step, err, fault)
		}
		check(t, f.removeAll())
		if !stopped {
			return
		}
	}
}

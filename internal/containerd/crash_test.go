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
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// operation is something that a process is stopped in.
type operation struct {
	name    string
	prepare func(st *stage)
	run     func(ctx context.Context, s *containerd.Snapshotter) error
	// done tells whether it has happened. What has neither happened nor not is an
	// error.
	done func(st *stage) (bool, error)
}

// A process that is stopped at any step of any operation leaves it done or
// undone, after a restart and after a power cut; nothing is leaked, and the
// operation can be carried out again.
func TestStoppedAtEveryStep(t *testing.T) {
	for _, o := range operations() {
		for _, power := range []bool{false, true} {
			t.Run(o.name+"/"+map[bool]string{false: "killed", true: "power cut"}[power], func(t *testing.T) {
				t.Parallel()
				// After a step is before the next: each is stopped before in one of the
				// two, and after in the other.
				phase, n := thinpooltest.Before, 1
				if power {
					phase = thinpooltest.After
				}
				for stopped(t, o, n, phase, power) {
					n += stride
					phase = thinpooltest.Before + thinpooltest.After - phase // the other one
				}
				if n < 3 && !t.Failed() {
					t.Errorf("only %d steps", n-1)
				}
			})
		}
	}
}

// stopped stops the operation at its n-th step in a new world, and tells whether
// there was such a step.
func stopped(t *testing.T, o operation, n int, phase thinpooltest.Phase, power bool) bool {
	t.Helper()
	st := newStage(t)
	o.prepare(st)
	check(t, st.s.Close())
	check(t, st.pool.Close(st.ctx))
	pool, victim := st.process(containerd.Options{})
	st.StopAt(n, phase)
	said := o.run(st.ctx, victim)
	victim.Close() // the background's steps count too
	pool.Close(st.ctx)
	step, stopped := st.Restart()
	if power {
		st.PowerOff(t)
	}
	fault := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf(
				"stopped %s step %d (%s), the operation said: %v: %s: %v",
				[...]string{"before", "after"}[phase],
				n,
				step,
				said,
				what,
				err,
			)
		}
	}
	st.reopen()
	fault("activating", st.pool.Activate(st.ctx))
	fault("recovering", st.s.Recover(st.ctx))
	fault("it does not agree", st.agree())
	done, err := o.done(st)
	fault("it is neither done nor undone", err)
	if said == nil && !done {
		fault("the operation", errors.New("acknowledged, and not done"))
	}
	if !stopped && said != nil {
		fault("the operation", said)
	}
	if !done {
		fault("again", o.run(st.ctx, st.s))
		done, err := o.done(st)
		if !done && err == nil {
			err = errors.New("not done")
		}
		fault("again", err)
	}
	fault("at the end it does not agree", st.agree())
	fault("taking all down", st.takeDown())
	return stopped && !t.Failed()
}

func operations() []operation {
	nothing := func(*stage) {}
	layers := func(names ...string) func(*stage) {
		return func(st *stage) {
			parent := ""
			for _, name := range names {
				st.layer(name, parent)
				parent = name
			}
		}
	}
	written := func(st *stage) {
		layers("a")(st)
		mounts, err := st.s.Prepare(st.ctx, "web", "a")
		check(st.t, err)
		check(st.t, st.write(mounts, "b"))
	}
	prepare := func(key, parent string, labels map[string]string) func(context.Context, *containerd.Snapshotter) error {
		return func(ctx context.Context, s *containerd.Snapshotter) error {
			_, err := s.Prepare(ctx, key, parent, core.WithLabels(labels))
			return err
		}
	}
	commit := func(ctx context.Context, s *containerd.Snapshotter) error { return s.Commit(ctx, "b", "web") }
	return []operation{
		{name: "the first", prepare: nothing, run: prepare("web", "", nil), done: there("web")},
		{name: "prepare", prepare: layers("a", "b"), run: prepare("web", "b", nil), done: there("web", "a", "b")},
		{
			name:    "prepare and grow",
			prepare: layers("a"),
			run: prepare(
				"web",
				"a",
				map[string]string{"containerd.io/snapshot/max-size": fmt.Sprint(uint64(32 * units.MiB))},
			),
			done: there("web", "a"),
		},
		{name: "view", prepare: layers("a"), done: there("look", "a"),
			run: func(ctx context.Context, s *containerd.Snapshotter) error {
				_, err := s.View(ctx, "look", "a")
				return err
			}},
		{name: "remove a view", done: func(st *stage) (bool, error) {
			is, err := there("look", "a")(st)
			return !is, err
		}, prepare: func(st *stage) {
			layers("a")(st)
			_, err := st.s.View(st.ctx, "look", "a")
			check(st.t, err)
		}, run: func(ctx context.Context, s *containerd.Snapshotter) error { return s.Remove(ctx, "look") }},
		{name: "commit", prepare: written, run: commit, done: committed},
		{name: "commit after a reboot", run: commit, done: committed,
			prepare: func(st *stage) {
				written(st)
				st.PowerOff(st.t)
				st.reopen()
				check(st.t, st.pool.Activate(st.ctx))
			}},
		{name: "remove", prepare: written, done: func(st *stage) (bool, error) {
			is, err := there("web", "a", "b")(st)
			return !is, err
		}, run: func(ctx context.Context, s *containerd.Snapshotter) error { return s.Remove(ctx, "web") }},
		{name: "update", prepare: written, done: func(st *stage) (bool, error) {
			info, err := st.s.Stat(st.ctx, "web")
			return info.Labels["x"] == "y", err
		}, run: func(ctx context.Context, s *containerd.Snapshotter) error {
			_, err := s.Update(ctx, core.Info{Name: "web", Labels: map[string]string{"x": "y"}})
			return err
		}},
	}
}

// there tells whether a snapshot is, and then it must have its files.
func there(key string, files ...string) func(*stage) (bool, error) {
	return func(st *stage) (bool, error) {
		_, err := st.s.Stat(st.ctx, key)
		if errors.Is(err, fault.NotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		mounts, err := st.s.Mounts(st.ctx, key)
		if err != nil {
			return true, err
		}
		return true, st.has(mounts, files...)
	}
}

// committed: the snapshot has one of its two names, and its files in either case.
func committed(st *stage) (bool, error) {
	active, err := there("web", "a", "b")(st)
	if err != nil {
		return false, err
	}
	info, err := st.s.Stat(st.ctx, "b")
	is := err == nil
	if err != nil && !errors.Is(err, fault.NotFound) {
		return false, err
	}
	if active == is {
		return false, fmt.Errorf("active: %t, committed: %t", active, is)
	}
	if !is {
		return false, nil
	}
	if info.Parent != "a" || info.Kind != core.KindCommitted {
		return true, fmt.Errorf("it is %+v", info)
	}
	look, err := st.s.View(st.ctx, "look", "b")
	if err != nil {
		return true, err
	}
	return true, errors.Join(st.has(look, "a", "b"), st.s.Remove(st.ctx, "look"))
}

// A commit of what somebody has mounted, stopped at every step, ends with one
// snapshot, and no volume is left.
func TestStoppedCommitOfMounted(t *testing.T) {
	for n := 1; ; n += stride {
		st := newStage(t)
		st.layer("a", "")
		mounts, err := st.s.Prepare(st.ctx, "web", "a")
		check(t, err)
		target := t.TempDir()
		check(t, st.Files.Mount(st.ctx, mounts[0].Source, target, filesystem.MountOptions{Type: filesystem.Ext4}))
		check(t, os.WriteFile(filepath.Join(target, "b"), []byte("b"), 0o600))
		st.s.Close()
		pool, victim := st.process(containerd.Options{})
		st.StopAt(n, thinpooltest.Before)
		victim.Commit(st.ctx, "b", "web")
		victim.Close()
		pool.Close(st.ctx)
		step, was := st.Restart()
		st.reopen()
		err = errors.Join(
			st.pool.Activate(st.ctx),
			st.s.Recover(st.ctx),
			st.Files.Unmount(st.ctx, target, filesystem.UnmountOptions{}),
			st.agree(),
		)
		if _, whole := committed(st); err != nil || whole != nil {
			t.Fatalf("stopped before step %d (%s): %v; %v", n, step, err, whole)
		}
		check(t, st.takeDown())
		if !was {
			return
		}
	}
}

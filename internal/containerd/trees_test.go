package containerd_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"

	"thinctl/fault"
	"thinctl/internal/containerd"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots/filesystem"
)

// mounted prepares a snapshot "web" of "a" that a container has mounted, with a file "b"
// that is not written out, and a view of "a".
func (st *stage) mounted() (lower, upper []mount.Mount, target string) {
	st.t.Helper()
	st.layer("a", "")
	upper, err := st.s.Prepare(st.ctx, "web", "a")
	check(st.t, err)
	target = st.t.TempDir()
	check(st.t, st.Files.Mount(st.ctx, upper[0].Source, target, filesystem.MountOptions{Type: filesystem.Ext4}))
	check(st.t, os.WriteFile(filepath.Join(target, "b"), []byte("b"), 0o600))
	lower, err = st.s.View(st.ctx, "look", "a")
	check(st.t, err)
	return lower, upper, target
}

func namesIn(root string) (names []string) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return []string{err.Error()}
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// The tree of a container that writes is of one moment, and its device is not mounted
// again. Views may come and go in the meantime, and the container be removed.
func TestReadOfMounted(t *testing.T) {
	st := newStage(t)
	lower, upper, target := st.mounted()
	pair, err := st.s.Pair(st.ctx, lower, upper)
	check(t, err)
	if pair.Upper() != "web" {
		t.Errorf("the upper one is %q", pair.Upper())
	}
	err = pair.Read(st.ctx, func(trees containerd.Trees) error {
		check(t, os.WriteFile(filepath.Join(target, "c"), []byte("c"), 0o600))
		check(t, st.s.Remove(st.ctx, "look"))
		check(t, st.Files.Unmount(st.ctx, target, filesystem.UnmountOptions{}))
		check(t, st.s.Remove(st.ctx, "web"))
		if got := namesIn(trees.Lower); !slices.Equal(got, []string{"a"}) {
			t.Errorf("the lower tree has %q", got)
		}
		if got := namesIn(trees.Upper); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("the upper tree has %q", got)
		}
		if !trees.Related {
			t.Error("the trees are not related")
		}
		return nil
	})
	check(t, err)
	check(t, st.takeDown())
}

// Of what kinds two snapshots are, and how they are related.
func TestPair(t *testing.T) {
	st := newStage(t)
	st.layer("a", "")
	st.layer("b", "a")
	st.layer("side", "")
	view := func(key, parent string) []mount.Mount {
		mounts, err := st.s.View(st.ctx, key, parent)
		check(t, err)
		return mounts
	}
	active, err := st.s.Prepare(st.ctx, "web", "b")
	check(t, err)
	a, b, side, empty := view("view a", "a"), view("view b", "b"), view("view side", "side"), view("view of none", "")
	_, other := st.process(containerd.Options{Namespace: "other"})
	foreign, err := other.Prepare(st.ctx, "web", "")
	check(t, err)
	for _, c := range []struct {
		name         string
		lower, upper []mount.Mount
		related      bool
		kind         error
	}{
		{"of its layer", b, active, true, nil},
		{"of its layer's layer", a, active, true, nil},
		{"the other way round", active, a, true, nil},
		{"of a layer", a, b, true, nil},
		{"of itself", active, active, true, nil},
		{"of another", side, active, false, nil},
		{"of the empty one", empty, active, false, nil},
		{"of nothing", nil, active, false, nil},
		{"nothing", a, nil, false, fault.Unsupported},
		{"of another namespace", a, foreign, false, fault.Unsupported},
		{"of a disk", a, []mount.Mount{{Type: "ext4", Source: "/dev/sda1"}}, false, fault.Unsupported},
		{"of two mounts", a, append(slices.Clone(active), active...), false, fault.Unsupported},
		{"what is gone", a, []mount.Mount{{Type: "ext4", Source: active[0].Source + "0"}}, false, fault.NotFound},
	} {
		pair, err := st.s.Pair(st.ctx, c.lower, c.upper)
		if c.kind != nil {
			if !errors.Is(err, c.kind) {
				t.Errorf("%s: %v is no %v", c.name, err, c.kind)
			}
			continue
		}
		check(t, err)
		check(t, pair.Read(st.ctx, func(trees containerd.Trees) error {
			if trees.Related != c.related {
				t.Errorf("%s: related: %t", c.name, trees.Related)
			}
			if (trees.Lower == "") != (c.lower == nil) {
				t.Errorf("%s: the lower tree is at %q", c.name, trees.Lower)
			}
			return nil
		}))
	}
	check(t, other.Remove(st.ctx, "web"))
	check(t, other.Close())
	check(t, st.takeDown())
}

// A process that is stopped at any step while it reads a running container leaves
// neither volume nor mount nor device behind, and the container as it was.
func TestStoppedRead(t *testing.T) {
	for n := 1; ; n += stride {
		st := newStage(t)
		lower, upper, target := st.mounted()
		st.s.Close()
		pool, victim := st.process(containerd.Options{})
		st.StopAt(n, thinpooltest.Before)
		pair, err := victim.Pair(st.ctx, lower, upper)
		if err == nil {
			err = pair.Read(st.ctx, func(containerd.Trees) error { return nil })
		}
		victim.Close()
		pool.Close(st.ctx)
		step, was := st.Restart()
		if !was && err != nil {
			t.Fatalf("not stopped: %v", err)
		}
		st.reopen()
		err = errors.Join(
			st.pool.Activate(st.ctx),
			st.s.Recover(st.ctx),
			st.Files.Unmount(context.Background(), target, filesystem.UnmountOptions{}),
			st.agree(),
		)
		if err == nil {
			err = st.has(upper, "a", "b")
		}
		if err != nil {
			t.Fatalf("stopped before step %d (%s): %v", n, step, err)
		}
		check(t, st.takeDown())
		if !was {
			return
		}
	}
}

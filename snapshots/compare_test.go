package snapshots_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"

	"thinctl/fault"
	"thinctl/internal/testkit/snapshotstest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
)

// mounted prepares a snapshot "web" of "a" and a view of "a". A container has mounted "web" and has written a file "b"
// that is not synced.
func (f *fixture) mounted() (lower, upper []mount.Mount, target string) {
	f.T.Helper()
	f.Layer("a", "")
	upper, err := f.S.Prepare(f.Ctx, "web", "a")
	check(f.T, err)
	target = f.T.TempDir()
	check(f.T, f.Files.Mount(f.Ctx, upper[0].Source, target, filesystem.MountOptions{Type: filesystem.Ext4}))
	check(f.T, os.WriteFile(filepath.Join(target, "b"), []byte("b"), 0o600))
	lower, err = f.S.View(f.Ctx, "look", "a")
	check(f.T, err)
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

// Read shows the tree of a writing container at one moment, without a second mount of its device. In the meantime
// views and the container can be removed.
func TestReadOfMounted(t *testing.T) {
	f := newFixture(t)
	lower, upper, target := f.mounted()
	pair, err := f.S.Pair(f.Ctx, lower, upper)
	check(t, err)
	if pair.Upper() != "web" {
		t.Errorf("got upper snapshot %q, want web", pair.Upper())
	}
	err = pair.Read(f.Ctx, func(trees snapshots.Trees) error {
		check(t, os.WriteFile(filepath.Join(target, "c"), []byte("c"), 0o600))
		check(t, f.S.Remove(f.Ctx, "look"))
		check(t, f.Files.Unmount(f.Ctx, target, filesystem.UnmountOptions{}))
		check(t, f.S.Remove(f.Ctx, "web"))
		if got := namesIn(trees.Lower); !slices.Equal(got, []string{"a"}) {
			t.Errorf("lower tree: got %q, want a", got)
		}
		if got := namesIn(trees.Upper); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("upper tree: got %q, want a and b", got)
		}
		if !trees.Related {
			t.Error("got trees that are not related, want related")
		}
		return nil
	})
	check(t, err)
	check(t, f.RemoveAll())
}

// Pair accepts all kinds of snapshots, rejects other mounts, and reports whether the two are related.
func TestPair(t *testing.T) {
	f := newFixture(t)
	f.Layer("a", "")
	f.Layer("b", "a")
	f.Layer("side", "")
	view := func(key, parent string) []mount.Mount {
		mounts, err := f.S.View(f.Ctx, key, parent)
		check(t, err)
		return mounts
	}
	active, err := f.S.Prepare(f.Ctx, "web", "b")
	check(t, err)
	a, b, side, empty := view("view a", "a"), view("view b", "b"), view("view side", "side"), view("view of none", "")
	_, other := f.Process(snapshots.Options{Namespace: "other"})
	foreign, err := other.Prepare(f.Ctx, "web", "")
	check(t, err)
	for _, c := range []struct {
		name         string
		lower, upper []mount.Mount
		related      bool
		kind         error
	}{
		{"lower is the parent", b, active, true, nil},
		{"lower is the grandparent", a, active, true, nil},
		{"upper is the grandparent", active, a, true, nil},
		{"views of a layer and its child", a, b, true, nil},
		{"the same snapshot twice", active, active, true, nil},
		{"lower is not related", side, active, false, nil},
		{"lower is an empty view", empty, active, false, nil},
		{"no lower mounts", nil, active, false, nil},
		{"no upper mounts", a, nil, false, fault.Unsupported},
		{"upper is of another namespace", a, foreign, false, fault.Unsupported},
		{"upper is a disk", a, []mount.Mount{{Type: "ext4", Source: "/dev/sda1"}}, false, fault.Unsupported},
		{"upper has two mounts", a, append(slices.Clone(active), active...), false, fault.Unsupported},
		{"upper does not exist", a, []mount.Mount{{Type: "ext4", Source: active[0].Source + "0"}}, false, fault.NotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			pair, err := f.S.Pair(f.Ctx, c.lower, c.upper)
			if c.kind != nil {
				wantError(t, err, c.kind)
				return
			}
			check(t, err)
			check(t, pair.Read(f.Ctx, func(trees snapshots.Trees) error {
				if trees.Related != c.related {
					t.Errorf("got related: %t, want %t", trees.Related, c.related)
				}
				if (trees.Lower == "") != (c.lower == nil) {
					t.Errorf("got lower tree at %q, want a tree: %t", trees.Lower, c.lower != nil)
				}
				return nil
			}))
		})
	}
	check(t, other.Remove(f.Ctx, "web"))
	check(t, other.Close())
	check(t, f.RemoveAll())
}

// A process that is stopped at any step while it reads a running container leaves no volume, mount or device behind,
// and does not change the container.
func TestStoppedRead(t *testing.T) {
	for n := 1; ; n += snapshotstest.Stride {
		f := newFixture(t)
		lower, upper, target := f.mounted()
		f.S.Close()
		pool, victim := f.Process(snapshots.Options{})
		f.StopAt(n, thinpooltest.Before)
		pair, err := victim.Pair(f.Ctx, lower, upper)
		if err == nil {
			err = pair.Read(f.Ctx, func(snapshots.Trees) error { return nil })
		}
		victim.Close()
		pool.Close(f.Ctx)
		step, stopped := f.Restart()
		if !stopped && err != nil {
			t.Fatalf("read without a stop: got error %v, want none", err)
		}
		err = errors.Join(
			f.recover(),
			f.Files.Unmount(context.Background(), target, filesystem.UnmountOptions{}),
			f.VerifyAll(),
		)
		if err == nil {
			err = f.Has(upper, "a", "b")
		}
		if err != nil {
			t.Fatalf("stopped before step %d (%s): %v", n, step, err)
		}
		check(t, f.RemoveAll())
		if !stopped {
			return
		}
	}
}

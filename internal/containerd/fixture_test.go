package containerd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/internal/containerd"
	"thinctl/internal/testkit/snapshotstest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

const poolName = "vault"

var wantError = snapshotstest.WantError

// fixture is a host in memory with one pool and its snapshotter. The test acts as containerd.
type fixture struct {
	*snapshotstest.Fixture
	t    *testing.T
	ctx  context.Context
	pool *thinpool.Pool
	s    *containerd.Snapshotter
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixtureOn(t, thinpooltest.SmallPool())
}

func newFixtureOn(t *testing.T, o thinpool.CreateOptions) *fixture {
	t.Helper()
	f := &fixture{t: t}
	f.Fixture, f.ctx = snapshotstest.NewWithPool(t, poolName, o)
	f.reopen()
	return f
}

// reopen opens the pool as the next process would.
func (f *fixture) reopen() {
	f.t.Helper()
	f.pool, f.s = f.process(containerd.Options{})
}

// process opens the pool and its snapshotter as a process of its own would.
func (f *fixture) process(o containerd.Options) (*thinpool.Pool, *containerd.Snapshotter) {
	f.t.Helper()
	pool, err := thinpool.Open(f.ctx, f.Host(), f.Root, poolName)
	check(f.t, err)
	s, err := containerd.New(pool, f.Files, o)
	check(f.t, err)
	f.t.Cleanup(func() { s.Close() })
	return pool, s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// with mounts a snapshot as containerd does, calls do, and unmounts it.
func (f *fixture) with(mounts []mount.Mount, do func(root string) error) error {
	if len(mounts) != 1 {
		return fmt.Errorf("got %d mounts, want 1", len(mounts))
	}
	m := mounts[0]
	target, err := os.MkdirTemp(f.t.TempDir(), "mount")
	if err != nil {
		return err
	}
	o := filesystem.MountOptions{Type: filesystem.Type(m.Type), ReadOnly: slices.Contains(m.Options, "ro")}
	if err := f.Files.Mount(f.ctx, m.Source, target, o); err != nil {
		return err
	}
	return errors.Join(do(target), f.Files.Unmount(f.ctx, target, filesystem.UnmountOptions{}))
}

// write writes a file of that name to a snapshot.
func (f *fixture) write(mounts []mount.Mount, file string) error {
	return f.with(
		mounts,
		func(root string) error { return os.WriteFile(filepath.Join(root, file), []byte(file), 0o644) },
	)
}

// has checks that a snapshot has exactly these files, each of which holds its name.
func (f *fixture) has(mounts []mount.Mount, files ...string) error {
	return f.with(mounts, func(root string) error {
		entries, err := os.ReadDir(root)
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
			text, fault := os.ReadFile(filepath.Join(root, entry.Name()))
			if fault == nil && string(text) != entry.Name() {
				fault = fmt.Errorf("file %s: got %q, want its name", entry.Name(), text)
			}
			err = errors.Join(err, fault)
		}
		if err == nil && !slices.Equal(names, files) {
			err = fmt.Errorf("got files %v, want %v", names, files)
		}
		return err
	})
}

// layer makes a committed snapshot of that name with a file of that name.
func (f *fixture) layer(name, parent string) {
	f.t.Helper()
	check(f.t, layer(f, f.s, name, parent))
}

// layer makes the snapshot with a snapshotter of another process.
func layer(f *fixture, s *containerd.Snapshotter, name, parent string) error {
	key := "extract " + name
	mounts, err := s.Prepare(f.ctx, key, parent)
	if err != nil {
		return err
	}
	if err := f.write(mounts, name); err != nil {
		return err
	}
	return s.Commit(f.ctx, name, key)
}

// names lists the snapshots that match.
func (f *fixture) names(s *containerd.Snapshotter, match ...string) []string {
	f.t.Helper()
	var names []string
	check(f.t, s.Walk(f.ctx, func(_ context.Context, info core.Info) error {
		names = append(names, info.Name)
		return nil
	}, match...))
	return names
}

// verify checks the pool and reports all that neither a finished nor an undone operation leaves behind.
func (f *fixture) verify() error {
	if err := f.s.Cleanup(f.ctx); err != nil {
		return err
	}
	found, err := f.s.Check(f.ctx)
	if err != nil {
		return err
	}
	store := snapshots.New(f.pool, f.Files, snapshots.Options{})
	err = f.Verify(f.ctx, store, snapshotstest.InUse{Active: "containerd"})
	for _, d := range found {
		err = errors.Join(err, fmt.Errorf("%s: %s", d.Object, d.Detail))
	}
	return err
}

// removeAll removes every snapshot. Only the blocks of the template may be left.
func (f *fixture) removeAll() error {
	for {
		names := f.names(f.s)
		if len(names) == 0 {
			break
		}
		removed := 0
		for _, name := range names {
			err := f.s.Remove(f.ctx, name)
			if errors.Is(err, fault.Refused) {
				continue // its children first
			}
			if err != nil {
				return err
			}
			removed++
		}
		if removed == 0 {
			return fmt.Errorf("got every removal of %v refused, want one without children", names)
		}
	}
	f.s.Close()
	if err := f.verify(); err != nil {
		return err
	}
	return snapshotstest.VerifyEmpty(f.ctx, f.pool, "template-*")
}

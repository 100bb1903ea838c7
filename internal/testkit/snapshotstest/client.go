package snapshotstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	cmount "github.com/containerd/containerd/v2/core/mount"
	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// PoolName is the name of the pool of a Client.
const PoolName = "vault"

// Client is a host in memory with one pool and a snapshotter. The test acts as containerd.
type Client struct {
	*Fixture
	T    *testing.T
	Ctx  context.Context
	Pool *thinpool.Pool
	S    *snapshots.Snapshotter
}

// NewClient returns a client with a small pool.
func NewClient(t *testing.T) *Client {
	t.Helper()
	return NewClientOn(t, thinpooltest.SmallPool())
}

// NewClientOn returns a client with a pool.
func NewClientOn(t *testing.T, o thinpool.CreateOptions) *Client {
	t.Helper()
	f := &Client{T: t}
	f.Fixture, f.Ctx = NewWithPool(t, PoolName, o)
	f.Reopen()
	return f
}

// Reopen opens the pool as the next process would.
func (f *Client) Reopen() {
	f.T.Helper()
	f.Pool, f.S = f.Process(snapshots.Options{})
}

// Process opens the pool and its snapshotter as a process of its own would.
func (f *Client) Process(o snapshots.Options) (*thinpool.Pool, *snapshots.Snapshotter) {
	f.T.Helper()
	pool, err := thinpool.Open(f.Ctx, f.Host(), f.Root, PoolName)
	f.check(err)
	s, err := snapshots.New(pool, f.Files, o)
	f.check(err)
	f.T.Cleanup(func() { f.check(s.Close()) })
	return pool, s
}

func (f *Client) check(err error) {
	f.T.Helper()
	if err != nil {
		f.T.Fatal(err)
	}
}

// With mounts a snapshot as containerd does, calls do, and unmounts it.
func (f *Client) With(mounts []cmount.Mount, do func(root string) error) error {
	if len(mounts) != 1 {
		return fmt.Errorf("got %d mounts, want 1", len(mounts))
	}
	m := mounts[0]
	target, err := os.MkdirTemp(f.T.TempDir(), "mount")
	if err != nil {
		return err
	}
	o := filesystem.MountOptions{Type: filesystem.Type(m.Type), ReadOnly: slices.Contains(m.Options, "ro")}
	if err := f.Files.Mount(f.Ctx, m.Source, target, o); err != nil {
		return err
	}
	return errors.Join(do(target), f.Files.Unmount(f.Ctx, target, filesystem.UnmountOptions{}))
}

// Write writes a file of that name to a snapshot.
func (f *Client) Write(mounts []cmount.Mount, file string) error {
	return f.With(
		mounts,
		func(root string) error { return os.WriteFile(filepath.Join(root, file), []byte(file), 0o644) },
	)
}

// Has checks that a snapshot has exactly these files, each of which holds its name.
func (f *Client) Has(mounts []cmount.Mount, files ...string) error {
	return f.With(mounts, func(root string) error {
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

// Layer makes a committed snapshot of that name with a file of that name.
func (f *Client) Layer(name, parent string) {
	f.T.Helper()
	f.check(f.LayerBy(f.S, name, parent))
}

// LayerBy is Layer with a snapshotter of another process.
func (f *Client) LayerBy(s *snapshots.Snapshotter, name, parent string) error {
	key := "extract " + name
	mounts, err := s.Prepare(f.Ctx, key, parent)
	if err != nil {
		return err
	}
	if err := f.Write(mounts, name); err != nil {
		return err
	}
	return s.Commit(f.Ctx, name, key)
}

// Names lists the snapshots that match.
func (f *Client) Names(s *snapshots.Snapshotter, match ...string) []string {
	f.T.Helper()
	var names []string
	f.check(s.Walk(f.Ctx, func(_ context.Context, info core.Info) error {
		names = append(names, info.Name)
		return nil
	}, match...))
	return names
}

// VerifyAll checks the pool and reports all that neither a finished nor an undone operation leaves behind.
func (f *Client) VerifyAll() error {
	if err := f.S.Cleanup(f.Ctx); err != nil {
		return err
	}
	found, err := f.S.Check(f.Ctx)
	if err != nil {
		return err
	}
	store := layers.New(f.Pool, f.Files, layers.Options{})
	err = f.Verify(f.Ctx, store, InUse{Active: "containerd"})
	for _, d := range found {
		err = errors.Join(err, fmt.Errorf("%s: %s", d.Object, d.Detail))
	}
	return err
}

// RemoveAll removes every snapshot. Only the blocks of the template may be left.
func (f *Client) RemoveAll() error {
	for {
		names := f.Names(f.S)
		if len(names) == 0 {
			break
		}
		removed := 0
		for _, name := range names {
			err := f.S.Remove(f.Ctx, name)
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
	if err := f.S.Close(); err != nil {
		return err
	}
	if err := f.VerifyAll(); err != nil {
		return err
	}
	return VerifyEmpty(f.Ctx, f.Pool, "template-*")
}

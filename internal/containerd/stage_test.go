package containerd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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

// stage is a world with one pool, and a containerd that is played by the test.
type stage struct {
	*snapshotstest.Fixture
	t    *testing.T
	ctx  context.Context
	pool *thinpool.Pool
	s    *containerd.Snapshotter
}

func newStage(t *testing.T) *stage {
	t.Helper()
	return newStageOn(t, thinpooltest.SmallPool())
}

func newStageOn(t *testing.T, o thinpool.CreateOptions) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	st := &stage{Fixture: snapshotstest.New(t), t: t, ctx: ctx}
	_, err := thinpool.Create(ctx, st.Host(), st.Root, poolName, o)
	check(t, err)
	st.reopen()
	return st
}

// reopen is the next process.
func (st *stage) reopen() {
	st.t.Helper()
	st.pool, st.s = st.process(containerd.Options{})
}

func (st *stage) process(o containerd.Options) (*thinpool.Pool, *containerd.Snapshotter) {
	st.t.Helper()
	pool, err := thinpool.Open(st.ctx, st.Host(), st.Root, poolName)
	check(st.t, err)
	s, err := containerd.New(pool, st.Files, o)
	check(st.t, err)
	st.t.Cleanup(func() { s.Close() })
	return pool, s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%v is no %v", err, kind)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not say %q", err, word)
		}
	}
}

// with calls do while mounts are mounted, as containerd does it.
func (st *stage) with(mounts []mount.Mount, do func(root string) error) error {
	if len(mounts) != 1 {
		return fmt.Errorf("%d mounts", len(mounts))
	}
	m := mounts[0]
	target, err := os.MkdirTemp(st.t.TempDir(), "mount")
	if err != nil {
		return err
	}
	o := filesystem.MountOptions{Type: filesystem.Type(m.Type), ReadOnly: slices.Contains(m.Options, "ro")}
	if err := st.Files.Mount(st.ctx, m.Source, target, o); err != nil {
		return err
	}
	return errors.Join(do(target), st.Files.Unmount(st.ctx, target, filesystem.UnmountOptions{}))
}

func (st *stage) write(mounts []mount.Mount, file string) error {
	return st.with(
		mounts,
		func(root string) error { return os.WriteFile(filepath.Join(root, file), []byte(file), 0o644) },
	)
}

// has compares what is mounted with the names of its files.
func (st *stage) has(mounts []mount.Mount, files ...string) error {
	return st.with(mounts, func(root string) error {
		entries, err := os.ReadDir(root)
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
			text, fault := os.ReadFile(filepath.Join(root, entry.Name()))
			if fault == nil && string(text) != entry.Name() {
				fault = fmt.Errorf("%s holds %q", entry.Name(), text)
			}
			err = errors.Join(err, fault)
		}
		if err == nil && !slices.Equal(names, files) {
			err = fmt.Errorf("it has %v, not %v", names, files)
		}
		return err
	})
}

// layer makes a committed snapshot of that name with a file of that name.
func (st *stage) layer(name, parent string) {
	st.t.Helper()
	check(st.t, layer(st, st.s, name, parent))
}

func layer(st *stage, s *containerd.Snapshotter, name, parent string) error {
	key := "extract " + name
	mounts, err := s.Prepare(st.ctx, key, parent)
	if err != nil {
		return err
	}
	if err := st.write(mounts, name); err != nil {
		return err
	}
	return s.Commit(st.ctx, name, key)
}

func (st *stage) names(s *containerd.Snapshotter, match ...string) []string {
	st.t.Helper()
	var names []string
	check(st.t, s.Walk(st.ctx, func(_ context.Context, info core.Info) error {
		names = append(names, info.Name)
		return nil
	}, match...))
	return names
}

// agree tells of everything that no finished or undone operation leaves.
func (st *stage) agree() error {
	var faults []error
	say := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := st.s.Cleanup(st.ctx); err != nil {
		return err
	}
	found, err := snapshots.New(st.pool, st.Files, snapshots.Options{}).Check(st.ctx)
	if err != nil {
		return err
	}
	for _, d := range found {
		say("%s: %s", d.Object, d.Detail)
	}
	mine, err := st.s.Check(st.ctx)
	if err != nil {
		return err
	}
	for _, d := range mine {
		say("%s: %s", d.Object, d.Detail)
	}
	report, err := st.pool.Check(st.ctx)
	if err != nil {
		return err
	}
	for _, finding := range report.Findings {
		say("the pool's check found %+v", finding)
	}
	volumes, err := st.pool.Volumes(st.ctx)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if v.For == "work" || v.Active && v.For != "containerd" {
			say("%s is left, active: %t", v.Name, v.Active)
		}
	}
	status, err := st.pool.Status(st.ctx)
	if err != nil {
		return err
	}
	if status.Tombstones != 0 {
		say("%d tombstones are left", status.Tombstones)
	}
	entries, err := os.ReadDir(st.pool.MountsDir())
	if err != nil {
		return err
	}
	for _, entry := range entries {
		say("%s is left", entry.Name())
	}
	for _, target := range st.Files.Targets() {
		say("%s is still mounted", target)
	}
	if violations := st.Kernel.Violations(); len(violations) != 0 {
		say("%v", violations)
	}
	return errors.Join(faults...)
}

// takeDown removes every snapshot; no block but the template's may be left.
func (st *stage) takeDown() error {
	for {
		names := st.names(st.s)
		if len(names) == 0 {
			break
		}
		removed := 0
		for _, name := range names {
			err := st.s.Remove(st.ctx, name)
			if errors.Is(err, fault.Refused) {
				continue // its children first
			}
			if err != nil {
				return err
			}
			removed++
		}
		if removed == 0 {
			return fmt.Errorf("%v stand on each other", names)
		}
	}
	st.s.Close()
	if err := st.agree(); err != nil {
		return err
	}
	usage, err := st.pool.Usage(st.ctx, thinpool.UsageOptions{})
	if err != nil {
		return err
	}
	for _, v := range usage.Volumes {
		if !strings.HasPrefix(v.Name, "template-") {
			return fmt.Errorf("%v is left", v)
		}
	}
	status, err := st.pool.Status(st.ctx)
	if err == nil && status.Data.Used != usage.Used {
		err = fmt.Errorf("%s of data are used, the trees say %s", status.Data.Used, usage.Used)
	}
	return err
}

package snapshots_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// A chain of layers with a container and a view on it, as containerd makes them.
func TestLifecycle(t *testing.T) {
	f := newFixture(t)
	f.Layer("a", "")
	f.Layer("b", "a")
	formats, mounts := f.Files.Counts()
	web, err := f.S.Prepare(f.Ctx, "web", "b", core.WithLabels(map[string]string{"x": "1", "empty": ""}))
	check(t, err)
	view, err := f.S.View(f.Ctx, "look", "b")
	check(t, err)
	if nowFormats, nowMounts := f.Files.Counts(); nowFormats != formats || nowMounts != mounts {
		t.Errorf("got %d formats and %d mounts to prepare two snapshots, want none", nowFormats-formats, nowMounts-mounts)
	}
	check(t, f.Has(web, "a", "b"))
	check(t, f.Write(web, "mine"))
	check(t, f.Has(view, "a", "b"))
	if got := fmt.Sprint(view[0].Options); got != "[ro noload]" {
		t.Errorf("view: got mount options %s, want [ro noload]", got)
	}
	again, err := f.S.Mounts(f.Ctx, "web")
	check(t, err)
	check(t, f.Has(again, "a", "b", "mine"))
	info, err := f.S.Stat(f.Ctx, "web")
	check(t, err)
	if info.Kind != core.KindActive || info.Parent != "b" || fmt.Sprint(info.Labels) != "map[x:1]" ||
		info.Created.IsZero() {
		t.Errorf("got %+v, want an active snapshot with parent b and label x", info)
	}
	wantError(t, f.S.Remove(f.Ctx, "b"), fault.Refused, "remove")
	wantError(t, f.S.Commit(f.Ctx, "c", "look"), fault.Refused, "view")
	wantError(t, f.S.Commit(f.Ctx, "a", "web"), fault.Exists)
	_, err = f.S.Mounts(f.Ctx, "a")
	wantError(t, err, fault.Refused, "committed")
	_, err = f.S.Prepare(f.Ctx, "new", "web")
	wantError(t, err, fault.Invalid, "not committed")
	_, err = f.S.Prepare(f.Ctx, "new", "missing")
	wantError(t, err, fault.NotFound, `"missing"`)
	_, err = f.S.View(f.Ctx, "web", "b")
	wantError(t, err, fault.Exists)
	check(t, f.S.Remove(f.Ctx, "web"))
	_, err = f.S.View(f.Ctx, "web", "b")
	check(t, err)
	check(t, f.VerifyAll())
	check(t, f.RemoveAll())
	check(t, f.S.Close())
	check(t, f.S.Close())
}

// After a reboot Mounts activates a snapshot's device again, and a snapshot that was not committed before the power cut
// can be committed.
func TestReboot(t *testing.T) {
	f := newFixture(t)
	f.Layer("a", "")
	web, err := f.S.Prepare(f.Ctx, "web", "a")
	check(t, err)
	check(t, f.Write(web, "mine"))
	f.PowerOff(t)
	f.Reopen()
	_, err = f.S.Mounts(f.Ctx, "web")
	wantError(t, err, thinpool.ErrInactive)
	check(t, f.Pool.Activate(f.Ctx))
	check(t, f.S.Recover(f.Ctx))
	usage, err := f.S.Usage(f.Ctx, "web")
	check(t, err)
	if usage.Inodes != 1 {
		t.Errorf("usage after a reboot: got %+v, want 1 inode", usage)
	}
	mounts, err := f.S.Mounts(f.Ctx, "web")
	check(t, err)
	check(t, f.Has(mounts, "a", "mine"))
	f.PowerOff(t)
	f.Reopen()
	check(t, f.Pool.Activate(f.Ctx))
	check(t, f.S.Commit(f.Ctx, "b", "web"))
	view, err := f.S.View(f.Ctx, "look", "b")
	check(t, err)
	check(t, f.Has(view, "a", "mine"))
	check(t, f.RemoveAll())
}

// Each namespace lists only its own snapshots, and none lists the volumes of the command line.
func TestNamespaces(t *testing.T) {
	f := newFixture(t)
	_, other := f.Process(snapshots.Options{Namespace: "k8s.io"})
	_, like := f.Process(snapshots.Options{Namespace: "def"}) // a prefix of "default"
	_, err := f.Pool.CreateVolume(f.Ctx, "own", thinpool.VolumeOptions{})
	check(t, err)
	f.Layer("a", "")
	check(t, f.LayerBy(other, "a", ""))
	check(t, f.LayerBy(other, "b", "a"))
	for _, c := range []struct {
		s    *snapshots.Snapshotter
		want string
	}{{f.S, "[a]"}, {other, "[a b]"}, {like, "[]"}} {
		if got := fmt.Sprint(f.Names(c.s)); got != c.want {
			t.Errorf("namespace %s: got %s, want %s", c.s.Namespace(), got, c.want)
		}
	}
	check(t, f.S.Remove(f.Ctx, "a"))
	wantError(t, other.Remove(f.Ctx, "a"), fault.Refused)
	check(t, f.VerifyAll())
	for _, name := range []string{"", "/", "a/b", "-a", strings.Repeat("x", 65)} {
		_, err := snapshots.New(f.Pool, f.Files, snapshots.Options{Namespace: name})
		if name != "" {
			wantError(t, err, fault.Invalid)
		}
	}
	_, err = f.Pool.RemoveVolume(f.Ctx, volumeOf(t, f), thinpool.RemoveOptions{})
	wantError(t, err, fault.Invalid, "containerd")
}

// volumeOf returns the name of a snapshot's volume.
func volumeOf(t *testing.T, f *fixture) string {
	t.Helper()
	volumes, err := f.Pool.Volumes(f.Ctx)
	check(t, err)
	i := slices.IndexFunc(volumes, func(v thinpool.Volume) bool { return v.For == "containerd" })
	if i < 0 {
		t.Fatal("got no volume of a snapshot, want one")
	}
	return volumes[i].Name
}

// All keys and labels that containerd can send are accepted, and others are rejected.
func TestKeys(t *testing.T) {
	f := newFixture(t)
	f.Layer("a", "")
	for _, key := range []string{strings.Repeat("k", 1000), "default/12/a b\tc\nd\x00e", "../../etc", "schlüssel/鍵", "/",
		"labels.x==1", "'\"\\"} {
		mounts, err := f.S.Prepare(f.Ctx, key, "a")
		check(t, err)
		check(t, f.Has(mounts, "a"))
		if !slices.Contains(f.Names(f.S), key) {
			t.Errorf("got no snapshot %q listed, want it", key)
		}
		check(t, f.S.Commit(f.Ctx, key+"'s", key))
		_, err = f.S.View(f.Ctx, key, key+"'s")
		check(t, err)
	}
	for _, key := range []string{"", strings.Repeat("k", 17<<10), "\xff"} {
		t.Run(fmt.Sprintf("key %.20q", key), func(t *testing.T) {
			_, err := f.S.Prepare(f.Ctx, key, "a")
			wantError(t, err, fault.Invalid)
			_, err = f.S.Stat(f.Ctx, key)
			wantError(t, err, fault.Invalid)
			wantError(t, f.S.Remove(f.Ctx, key), fault.Invalid)
			wantError(t, f.S.Commit(f.Ctx, key, "a"), fault.Invalid)
		})
	}
	for _, labels := range []map[string]string{{"": "x"}, {"k": strings.Repeat("v", 4096)}, {"k": "\xff"},
		{"containerd.io/snapshot/max-size": "10G"}, {"containerd.io/snapshot/max-size": "-1"},
		{"containerd.io/snapshot/max-size": "9223372036854775807"}} {
		t.Run(fmt.Sprintf("labels %.40q", fmt.Sprint(labels)), func(t *testing.T) {
			_, err := f.S.Prepare(f.Ctx, "new", "a", core.WithLabels(labels))
			wantError(t, err, fault.Invalid, "label")
		})
	}
	check(t, f.RemoveAll())
}

func TestUpdateAndWalk(t *testing.T) {
	f := newFixture(t)
	f.Layer("a", "")
	_, err := f.S.Prepare(
		f.Ctx,
		"web",
		"a",
		core.WithLabels(map[string]string{"l1": "1", "l2": "2", "dotted.key": "d"}),
	)
	check(t, err)
	info, err := f.S.Update(
		f.Ctx,
		core.Info{Name: "web", Labels: map[string]string{"l1": "new", "l3": "3"}},
		"labels.l1",
		"labels.l2",
	)
	check(t, err)
	if got := fmt.Sprint(info.Labels); got != "map[dotted.key:d l1:new]" || !info.Updated.After(info.Created) {
		t.Errorf("got labels %s, updated at %v; want dotted.key and l1, updated after %v", got, info.Updated, info.Created)
	}
	_, err = f.S.Update(f.Ctx, core.Info{Name: "web"}, "parent")
	wantError(t, err, fault.Invalid, "parent")
	_, err = f.S.Update(f.Ctx, core.Info{Name: "missing"})
	wantError(t, err, fault.NotFound)
	for filter, want := range map[string]string{`kind==active`: "[web]", `parent==a`: "[web]", `name==a`: "[a]", `labels."dotted.key"==d`: "[web]",
		`labels.l2`: "[]", `parent!=""`: "[web]", `kind==committed,name==web`: "[]"} {
		if got := fmt.Sprint(f.Names(f.S, filter)); got != want {
			t.Errorf("filter %s: got %s, want %s", filter, got, want)
		}
	}
	err = f.S.Walk(f.Ctx, func(context.Context, core.Info) error { return nil }, "kind=~~(")
	wantError(t, err, fault.Invalid)
	// A Walk's function can call the snapshotter.
	check(t, f.S.Walk(f.Ctx, func(_ context.Context, info core.Info) error {
		_, err := f.S.Stat(f.Ctx, info.Name)
		return err
	}))
}

// A snapshot has the size that its label asks for, but is never smaller than its parent.
func TestSizes(t *testing.T) {
	o := thinpooltest.SmallPool()
	o.BaseSize = 32 * units.MiB
	f := newFixtureOn(t, o)
	label := func(size units.Bytes) map[string]string {
		return map[string]string{"containerd.io/snapshot/max-size": fmt.Sprint(uint64(size))}
	}
	sizes := func() map[string]units.Bytes {
		volumes, err := f.Pool.Volumes(f.Ctx)
		check(t, err)
		all := map[string]units.Bytes{}
		for _, v := range volumes {
			if v.For == "containerd" {
				all[v.Name] = v.Size
			}
		}
		return all
	}
	prepare := func(key, parent string, labels map[string]string, want units.Bytes) {
		t.Helper()
		before := sizes()
		mounts, err := f.S.Prepare(f.Ctx, key, parent, core.WithLabels(labels))
		check(t, err)
		for name, size := range sizes() {
			if _, old := before[name]; !old && size != want {
				t.Errorf("snapshot %s: got %s, want %s", key, size, want)
			}
		}
		check(t, f.With(mounts, func(string) error { return nil }))
	}
	prepare("default", "", nil, 32*units.MiB)
	prepare("small", "", label(20*units.MiB), 20*units.MiB)
	prepare("tiny", "", label(1), 16*units.MiB)
	prepare("large", "", label(50*units.MiB+1), 51*units.MiB)
	check(t, f.S.Commit(f.Ctx, "parent", "large"))
	prepare("smaller", "parent", label(20*units.MiB), 51*units.MiB)
	prepare("larger", "parent", label(60*units.MiB), 60*units.MiB)
	check(t, f.RemoveAll())
}

// Usage reports at most what was written, and is never negative.
func TestUsage(t *testing.T) {
	f := newFixture(t)
	scanned := map[string]snapshots.Scanned{}
	_, s := f.Process(snapshots.Options{Exclusive: func(volume string) (snapshots.Scanned, bool) {
		found, ok := scanned[volume]
		return found, ok
	}})
	usage := func(key string, inodes uint64, least, most units.Bytes) {
		t.Helper()
		u, err := s.Usage(f.Ctx, key)
		check(t, err)
		if u.Inodes != int64(inodes) || units.Bytes(u.Size) < least || units.Bytes(u.Size) > most {
			t.Errorf("snapshot %s: got %+v, want %d inodes and %s to %s", key, u, inodes, least, most)
		}
	}
	first, err := s.Prepare(f.Ctx, "first", "")
	check(t, err)
	usage("first", 0, 0, 0)
	check(t, f.Write(first, "a"))
	usage("first", 1, 1, units.MiB)
	check(t, s.Commit(f.Ctx, "a", "first"))
	usage("a", 1, 1, units.MiB)
	web, err := s.Prepare(f.Ctx, "web", "a")
	check(t, err)
	_, err = s.View(f.Ctx, "look", "a")
	check(t, err)
	usage("web", 0, 0, 0)
	usage("look", 0, 0, 0)
	check(t, f.With(web, func(root string) error {
		usage("web", 0, 0, 0)
		if err := os.WriteFile(filepath.Join(root, "b"), []byte("b"), 0o600); err != nil {
			return err
		}
		usage("web", 1, 0, units.MiB)
		return os.Remove(filepath.Join(root, "a"))
	}))
	usage("web", 0, 1, units.MiB)
	volumes, err := f.Pool.Volumes(f.Ctx)
	check(t, err)
	for _, v := range volumes {
		if v.Active && !v.ReadOnly && v.For == "containerd" {
			scanned[v.Name] = snapshots.Scanned{Exclusive: 7 * units.MiB, Mapped: 0}
		}
	}
	usage("web", 0, 7*units.MiB, 9*units.MiB)
	_, err = s.Usage(f.Ctx, "missing")
	wantError(t, err, fault.NotFound)
}

// Commit and Remove of a snapshot that another process has mounted neither wait for that process nor disturb it.
func TestMountedElsewhere(t *testing.T) {
	f := newFixture(t)
	f.Layer("a", "")
	web, err := f.S.Prepare(f.Ctx, "web", "a")
	check(t, err)
	target := t.TempDir()
	check(t, f.Files.Mount(f.Ctx, web[0].Source, target, filesystem.MountOptions{Type: filesystem.Ext4}))
	check(t, os.WriteFile(filepath.Join(target, "b"), []byte("b"), 0o600))
	check(t, f.S.Commit(f.Ctx, "b", "web")) // it is still mounted
	check(t, os.WriteFile(filepath.Join(target, "late"), []byte("late"), 0o600))
	view, err := f.S.View(f.Ctx, "look", "b")
	check(t, err)
	check(t, f.Has(view, "a", "b"))
	check(t, f.S.Cleanup(f.Ctx))
	status, err := f.Pool.Status(f.Ctx)
	check(t, err)
	if status.Tombstones != 1 {
		t.Errorf("got %d tombstones while the volume is mounted, want 1", status.Tombstones)
	}
	check(t, f.Files.Unmount(f.Ctx, target, filesystem.UnmountOptions{}))
	check(t, f.VerifyAll())
	db, err := f.S.Prepare(f.Ctx, "db", "b")
	check(t, err)
	check(t, f.Files.Mount(f.Ctx, db[0].Source, target, filesystem.MountOptions{Type: filesystem.Ext4}))
	check(t, f.S.Remove(f.Ctx, "db"))
	_, err = f.S.Prepare(f.Ctx, "db", "b")
	check(t, err)
	check(t, f.Files.Unmount(f.Ctx, target, filesystem.UnmountOptions{}))
	check(t, f.VerifyAll())
	check(t, f.RemoveAll())
}

// All views of a parent show the parent's own volume and take neither a block nor a device id. The device is active as
// long as there is a view. Snapshots of the parent can be taken in the meantime.
func TestViewsShareTheirParent(t *testing.T) {
	f := newFixture(t)
	f.Layer("a", "")
	check(t, f.S.Cleanup(f.Ctx))
	before, err := f.Pool.Status(f.Ctx)
	check(t, err)
	first, err := f.S.View(
		f.Ctx,
		"one",
		"a",
		core.WithLabels(map[string]string{"containerd.io/snapshot/max-size": "1073741824"}),
	)
	check(t, err)
	second, err := f.S.View(f.Ctx, "two", "a")
	check(t, err)
	if first[0].Source != second[0].Source {
		t.Errorf("got devices %s and %s, want the same", first[0].Source, second[0].Source)
	}
	status, err := f.Pool.Status(f.Ctx)
	check(t, err)
	if status.Volumes != before.Volumes || status.Kernel.TransactionID != before.Kernel.TransactionID ||
		status.Data.Used != before.Data.Used {
		t.Errorf("got status %+v, want the volumes, transaction and blocks of %+v", status, before)
	}
	usage, err := f.S.Usage(f.Ctx, "one")
	if err != nil || usage != (core.Usage{}) {
		t.Errorf("usage of a view: got %+v, error %v, want 0", usage, err)
	}
	check(t, f.With(first, func(string) error { return errors.Join(f.Has(second, "a"), f.prepareWritten("web", "a")) }))
	wantError(t, f.S.Remove(f.Ctx, "a"), fault.Refused)
	wantError(t, f.S.Commit(f.Ctx, "b", "one"), fault.Refused)

	active := func() bool {
		t.Helper()
		check(t, f.S.Cleanup(f.Ctx))
		volumes, err := f.Pool.Volumes(f.Ctx)
		check(t, err)
		for _, v := range volumes {
			if v.Node == first[0].Source {
				return v.Active
			}
		}
		return false
	}
	check(t, f.S.Remove(f.Ctx, "one"))
	if !active() {
		t.Error("got an inactive device after the removal of one view, want it active for the other")
	}
	check(t, f.Has(second, "a"))
	target := t.TempDir()
	check(
		t,
		f.Files.Mount(
			f.Ctx,
			second[0].Source,
			target,
			filesystem.MountOptions{Type: filesystem.Ext4, ReadOnly: true},
		),
	)
	check(t, f.S.Remove(f.Ctx, "two")) // does not wait for the mount to be gone
	if !active() {
		t.Error("got an inactive device while it is mounted, want it active")
	}
	check(t, f.Files.Unmount(f.Ctx, target, filesystem.UnmountOptions{}))
	check(t, f.S.Recover(f.Ctx))
	if active() {
		t.Error("got an active device without a view, want it inactive")
	}
	check(t, f.S.Remove(f.Ctx, "web"))
	check(t, f.RemoveAll())
}

// Views are made and removed concurrently, and the device of each is active.
func TestConcurrentViews(t *testing.T) {
	f := newFixture(t)
	f.Layer("a", "")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			key := fmt.Sprint("look", i)
			for range 20 {
				mounts, err := f.S.View(f.Ctx, key, "a")
				if err == nil {
					_, err = f.Files.Inodes(mounts[0].Source, "")
				}
				if err = errors.Join(err, f.S.Remove(f.Ctx, key)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	check(t, f.VerifyAll())
	check(t, f.RemoveAll())
}

// prepareWritten prepares a snapshot and writes to it.
func (f *fixture) prepareWritten(key, parent string) error {
	mounts, err := f.S.Prepare(f.Ctx, key, parent)
	if err != nil {
		return err
	}
	return f.Write(mounts, key)
}

// Concurrent first calls of Prepare, in processes and namespaces of their own, format one template, and none disturbs
// another that measures it.
func TestConcurrentFirstPrepare(t *testing.T) {
	f := newFixture(t)
	var all sync.WaitGroup
	for i := range 16 {
		_, s := f.Process(snapshots.Options{Namespace: fmt.Sprint("n", i)})
		all.Go(func() {
			if _, err := s.Prepare(f.Ctx, "first", ""); err != nil {
				t.Error(err)
			}
			if usage, err := s.Usage(f.Ctx, "first"); err != nil || usage != (core.Usage{}) {
				t.Errorf("usage: got %+v, error %v, want 0", usage, err)
			}
		})
	}
	all.Wait()
	if formats, _ := f.Files.Counts(); formats != 1 {
		t.Errorf("got %d formats, want 1", formats)
	}
	check(t, f.VerifyAll())
}

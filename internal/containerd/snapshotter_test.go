package containerd_test

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
	"thinctl/internal/containerd"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// A chain of layers with a container and a view on it, as containerd makes them.
func TestLifecycle(t *testing.T) {
	f := newFixture(t)
	f.layer("a", "")
	f.layer("b", "a")
	formats, mounts := f.Files.Counts()
	web, err := f.s.Prepare(f.ctx, "web", "b", core.WithLabels(map[string]string{"x": "1", "empty": ""}))
	check(t, err)
	view, err := f.s.View(f.ctx, "look", "b")
	check(t, err)
	if nowFormats, nowMounts := f.Files.Counts(); nowFormats != formats || nowMounts != mounts {
		t.Errorf("got %d formats and %d mounts to prepare two snapshots, want none", nowFormats-formats, nowMounts-mounts)
	}
	check(t, f.has(web, "a", "b"))
	check(t, f.write(web, "mine"))
	check(t, f.has(view, "a", "b"))
	if got := fmt.Sprint(view[0].Options); got != "[ro noload]" {
		t.Errorf("view: got mount options %s, want [ro noload]", got)
	}
	again, err := f.s.Mounts(f.ctx, "web")
	check(t, err)
	check(t, f.has(again, "a", "b", "mine"))
	info, err := f.s.Stat(f.ctx, "web")
	check(t, err)
	if info.Kind != core.KindActive || info.Parent != "b" || fmt.Sprint(info.Labels) != "map[x:1]" ||
		info.Created.IsZero() {
		t.Errorf("got %+v, want an active snapshot with parent b and label x", info)
	}
	wantError(t, f.s.Remove(f.ctx, "b"), fault.Refused, "remove")
	wantError(t, f.s.Commit(f.ctx, "c", "look"), fault.Refused, "view")
	wantError(t, f.s.Commit(f.ctx, "a", "web"), fault.Exists)
	_, err = f.s.Mounts(f.ctx, "a")
	wantError(t, err, fault.Refused, "committed")
	_, err = f.s.Prepare(f.ctx, "new", "web")
	wantError(t, err, fault.Invalid, "not committed")
	_, err = f.s.Prepare(f.ctx, "new", "missing")
	wantError(t, err, fault.NotFound, `"missing"`)
	_, err = f.s.View(f.ctx, "web", "b")
	wantError(t, err, fault.Exists)
	check(t, f.s.Remove(f.ctx, "web"))
	_, err = f.s.View(f.ctx, "web", "b")
	check(t, err)
	check(t, f.verify())
	check(t, f.removeAll())
	check(t, f.s.Close())
	check(t, f.s.Close())
}

// After a reboot Mounts activates a snapshot's device again, and a snapshot that was not committed before the power cut
// can be committed.
func TestReboot(t *testing.T) {
	f := newFixture(t)
	f.layer("a", "")
	web, err := f.s.Prepare(f.ctx, "web", "a")
	check(t, err)
	check(t, f.write(web, "mine"))
	f.PowerOff(t)
	f.reopen()
	_, err = f.s.Mounts(f.ctx, "web")
	wantError(t, err, thinpool.ErrInactive)
	check(t, f.pool.Activate(f.ctx))
	check(t, f.s.Recover(f.ctx))
	usage, err := f.s.Usage(f.ctx, "web")
	check(t, err)
	if usage.Inodes != 1 {
		t.Errorf("usage after a reboot: got %+v, want 1 inode", usage)
	}
	mounts, err := f.s.Mounts(f.ctx, "web")
	check(t, err)
	check(t, f.has(mounts, "a", "mine"))
	f.PowerOff(t)
	f.reopen()
	check(t, f.pool.Activate(f.ctx))
	check(t, f.s.Commit(f.ctx, "b", "web"))
	view, err := f.s.View(f.ctx, "look", "b")
	check(t, err)
	check(t, f.has(view, "a", "mine"))
	check(t, f.removeAll())
}

// Each namespace lists only its own snapshots, and none lists the volumes of the command line.
func TestNamespaces(t *testing.T) {
	f := newFixture(t)
	_, other := f.process(containerd.Options{Namespace: "k8s.io"})
	_, like := f.process(containerd.Options{Namespace: "def"}) // a prefix of "default"
	_, err := f.pool.CreateVolume(f.ctx, "own", thinpool.VolumeOptions{})
	check(t, err)
	f.layer("a", "")
	check(t, layer(f, other, "a", ""))
	check(t, layer(f, other, "b", "a"))
	for _, c := range []struct {
		s    *containerd.Snapshotter
		want string
	}{{f.s, "[a]"}, {other, "[a b]"}, {like, "[]"}} {
		if got := fmt.Sprint(f.names(c.s)); got != c.want {
			t.Errorf("namespace %s: got %s, want %s", c.s.Namespace(), got, c.want)
		}
	}
	check(t, f.s.Remove(f.ctx, "a"))
	wantError(t, other.Remove(f.ctx, "a"), fault.Refused)
	check(t, f.verify())
	for _, name := range []string{"", "/", "a/b", "-a", strings.Repeat("x", 65)} {
		_, err := containerd.New(f.pool, f.Files, containerd.Options{Namespace: name})
		if name != "" {
			wantError(t, err, fault.Invalid)
		}
	}
	_, err = f.pool.RemoveVolume(f.ctx, volumeOf(t, f), thinpool.RemoveOptions{})
	wantError(t, err, fault.Invalid, "containerd")
}

// volumeOf returns the name of a snapshot's volume.
func volumeOf(t *testing.T, f *fixture) string {
	t.Helper()
	volumes, err := f.pool.Volumes(f.ctx)
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
	f.layer("a", "")
	for _, key := range []string{strings.Repeat("k", 1000), "default/12/a b\tc\nd\x00e", "../../etc", "schlüssel/鍵", "/",
		"labels.x==1", "'\"\\"} {
		mounts, err := f.s.Prepare(f.ctx, key, "a")
		check(t, err)
		check(t, f.has(mounts, "a"))
		if !slices.Contains(f.names(f.s), key) {
			t.Errorf("got no snapshot %q listed, want it", key)
		}
		check(t, f.s.Commit(f.ctx, key+"'s", key))
		_, err = f.s.View(f.ctx, key, key+"'s")
		check(t, err)
	}
	for _, key := range []string{"", strings.Repeat("k", 17<<10), "\xff"} {
		t.Run(fmt.Sprintf("key %.20q", key), func(t *testing.T) {
			_, err := f.s.Prepare(f.ctx, key, "a")
			wantError(t, err, fault.Invalid)
			_, err = f.s.Stat(f.ctx, key)
			wantError(t, err, fault.Invalid)
			wantError(t, f.s.Remove(f.ctx, key), fault.Invalid)
			wantError(t, f.s.Commit(f.ctx, key, "a"), fault.Invalid)
		})
	}
	for _, labels := range []map[string]string{{"": "x"}, {"k": strings.Repeat("v", 4096)}, {"k": "\xff"},
		{"containerd.io/snapshot/max-size": "10G"}, {"containerd.io/snapshot/max-size": "-1"},
		{"containerd.io/snapshot/max-size": "9223372036854775807"}} {
		t.Run(fmt.Sprintf("labels %.40q", fmt.Sprint(labels)), func(t *testing.T) {
			_, err := f.s.Prepare(f.ctx, "new", "a", core.WithLabels(labels))
			wantError(t, err, fault.Invalid, "label")
		})
	}
	check(t, f.removeAll())
}

func TestUpdateAndWalk(t *testing.T) {
	f := newFixture(t)
	f.layer("a", "")
	_, err := f.s.Prepare(
		f.ctx,
		"web",
		"a",
		core.WithLabels(map[string]string{"l1": "1", "l2": "2", "dotted.key": "d"}),
	)
	check(t, err)
	info, err := f.s.Update(
		f.ctx,
		core.Info{Name: "web", Labels: map[string]string{"l1": "new", "l3": "3"}},
		"labels.l1",
		"labels.l2",
	)
	check(t, err)
	if got := fmt.Sprint(info.Labels); got != "map[dotted.key:d l1:new]" || !info.Updated.After(info.Created) {
		t.Errorf("got labels %s, updated at %v; want dotted.key and l1, updated after %v", got, info.Updated, info.Created)
	}
	_, err = f.s.Update(f.ctx, core.Info{Name: "web"}, "parent")
	wantError(t, err, fault.Invalid, "parent")
	_, err = f.s.Update(f.ctx, core.Info{Name: "missing"})
	wantError(t, err, fault.NotFound)
	for filter, want := range map[string]string{`kind==active`: "[web]", `parent==a`: "[web]", `name==a`: "[a]", `labels."dotted.key"==d`: "[web]",
		`labels.l2`: "[]", `parent!=""`: "[web]", `kind==committed,name==web`: "[]"} {
		if got := fmt.Sprint(f.names(f.s, filter)); got != want {
			t.Errorf("filter %s: got %s, want %s", filter, got, want)
		}
	}
	err = f.s.Walk(f.ctx, func(context.Context, core.Info) error { return nil }, "kind=~~(")
	wantError(t, err, fault.Invalid)
	// A Walk's function can call the snapshotter.
	check(t, f.s.Walk(f.ctx, func(_ context.Context, info core.Info) error {
		_, err := f.s.Stat(f.ctx, info.Name)
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
		volumes, err := f.pool.Volumes(f.ctx)
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
		mounts, err := f.s.Prepare(f.ctx, key, parent, core.WithLabels(labels))
		check(t, err)
		for name, size := range sizes() {
			if _, old := before[name]; !old && size != want {
				t.Errorf("snapshot %s: got %s, want %s", key, size, want)
			}
		}
		check(t, f.with(mounts, func(string) error { return nil }))
	}
	prepare("default", "", nil, 32*units.MiB)
	prepare("small", "", label(20*units.MiB), 20*units.MiB)
	prepare("tiny", "", label(1), 16*units.MiB)
	prepare("large", "", label(50*units.MiB+1), 51*units.MiB)
	check(t, f.s.Commit(f.ctx, "parent", "large"))
	prepare("smaller", "parent", label(20*units.MiB), 51*units.MiB)
	prepare("larger", "parent", label(60*units.MiB), 60*units.MiB)
	check(t, f.removeAll())
}

// Usage reports at most what was written, and is never negative.
func TestUsage(t *testing.T) {
	f := newFixture(t)
	scanned := map[string]containerd.Scanned{}
	_, s := f.process(containerd.Options{Exclusive: func(volume string) (containerd.Scanned, bool) {
		found, ok := scanned[volume]
		return found, ok
	}})
	usage := func(key string, inodes uint64, least, most units.Bytes) {
		t.Helper()
		u, err := s.Usage(f.ctx, key)
		check(t, err)
		if u.Inodes != int64(inodes) || units.Bytes(u.Size) < least || units.Bytes(u.Size) > most {
			t.Errorf("snapshot %s: got %+v, want %d inodes and %s to %s", key, u, inodes, least, most)
		}
	}
	first, err := s.Prepare(f.ctx, "first", "")
	check(t, err)
	usage("first", 0, 0, 0)
	check(t, f.write(first, "a"))
	usage("first", 1, 1, units.MiB)
	check(t, s.Commit(f.ctx, "a", "first"))
	usage("a", 1, 1, units.MiB)
	web, err := s.Prepare(f.ctx, "web", "a")
	check(t, err)
	_, err = s.View(f.ctx, "look", "a")
	check(t, err)
	usage("web", 0, 0, 0)
	usage("look", 0, 0, 0)
	check(t, f.with(web, func(root string) error {
		usage("web", 0, 0, 0)
		if err := os.WriteFile(filepath.Join(root, "b"), []byte("b"), 0o600); err != nil {
			return err
		}
		usage("web", 1, 0, units.MiB)
		return os.Remove(filepath.Join(root, "a"))
	}))
	usage("web", 0, 1, units.MiB)
	volumes, err := f.pool.Volumes(f.ctx)
	check(t, err)
	for _, v := range volumes {
		if v.Active && !v.ReadOnly && v.For == "containerd" {
			scanned[v.Name] = containerd.Scanned{Exclusive: 7 * units.MiB, Mapped: 0}
		}
	}
	usage("web", 0, 7*units.MiB, 9*units.MiB)
	_, err = s.Usage(f.ctx, "missing")
	wantError(t, err, fault.NotFound)
}

// Commit and Remove of a snapshot that another process has mounted neither wait for that process nor disturb it.
func TestMountedElsewhere(t *testing.T) {
	f := newFixture(t)
	f.layer("a", "")
	web, err := f.s.Prepare(f.ctx, "web", "a")
	check(t, err)
	target := t.TempDir()
	check(t, f.Files.Mount(f.ctx, web[0].Source, target, filesystem.MountOptions{Type: filesystem.Ext4}))
	check(t, os.WriteFile(filepath.Join(target, "b"), []byte("b"), 0o600))
	check(t, f.s.Commit(f.ctx, "b", "web")) // it is still mounted
	check(t, os.WriteFile(filepath.Join(target, "late"), []byte("late"), 0o600))
	view, err := f.s.View(f.ctx, "look", "b")
	check(t, err)
	check(t, f.has(view, "a", "b"))
	check(t, f.s.Cleanup(f.ctx))
	status, err := f.pool.Status(f.ctx)
	check(t, err)
	if status.Tombstones != 1 {
		t.Errorf("got %d tombstones while the volume is mounted, want 1", status.Tombstones)
	}
	check(t, f.Files.Unmount(f.ctx, target, filesystem.UnmountOptions{}))
	check(t, f.verify())
	db, err := f.s.Prepare(f.ctx, "db", "b")
	check(t, err)
	check(t, f.Files.Mount(f.ctx, db[0].Source, target, filesystem.MountOptions{Type: filesystem.Ext4}))
	check(t, f.s.Remove(f.ctx, "db"))
	_, err = f.s.Prepare(f.ctx, "db", "b")
	check(t, err)
	check(t, f.Files.Unmount(f.ctx, target, filesystem.UnmountOptions{}))
	check(t, f.verify())
	check(t, f.removeAll())
}

// All views of a parent show the parent's own volume and take neither a block nor a device id. The device is active as
// long as there is a view. Snapshots of the parent can be taken in the meantime.
func TestViewsShareTheirParent(t *testing.T) {
	f := newFixture(t)
	f.layer("a", "")
	check(t, f.s.Cleanup(f.ctx))
	before, err := f.pool.Status(f.ctx)
	check(t, err)
	first, err := f.s.View(
		f.ctx,
		"one",
		"a",
		core.WithLabels(map[string]string{"containerd.io/snapshot/max-size": "1073741824"}),
	)
	check(t, err)
	second, err := f.s.View(f.ctx, "two", "a")
	check(t, err)
	if first[0].Source != second[0].Source {
		t.Errorf("got devices %s and %s, want the same", first[0].Source, second[0].Source)
	}
	status, err := f.pool.Status(f.ctx)
	check(t, err)
	if status.Volumes != before.Volumes || status.Kernel.TransactionID != before.Kernel.TransactionID ||
		status.Data.Used != before.Data.Used {
		t.Errorf("got status %+v, want the volumes, transaction and blocks of %+v", status, before)
	}
	usage, err := f.s.Usage(f.ctx, "one")
	if err != nil || usage != (core.Usage{}) {
		t.Errorf("usage of a view: got %+v, error %v, want 0", usage, err)
	}
	check(t, f.with(first, func(string) error { return errors.Join(f.has(second, "a"), f.prepareWritten("web", "a")) }))
	wantError(t, f.s.Remove(f.ctx, "a"), fault.Refused)
	wantError(t, f.s.Commit(f.ctx, "b", "one"), fault.Refused)

	active := func() bool {
		t.Helper()
		check(t, f.s.Cleanup(f.ctx))
		volumes, err := f.pool.Volumes(f.ctx)
		check(t, err)
		for _, v := range volumes {
			if v.Node == first[0].Source {
				return v.Active
			}
		}
		return false
	}
	check(t, f.s.Remove(f.ctx, "one"))
	if !active() {
		t.Error("got an inactive device after the removal of one view, want it active for the other")
	}
	check(t, f.has(second, "a"))
	target := t.TempDir()
	check(
		t,
		f.Files.Mount(
			f.ctx,
			second[0].Source,
			target,
			filesystem.MountOptions{Type: filesystem.Ext4, ReadOnly: true},
		),
	)
	check(t, f.s.Remove(f.ctx, "two")) // does not wait for the mount to be gone
	if !active() {
		t.Error("got an inactive device while it is mounted, want it active")
	}
	check(t, f.Files.Unmount(f.ctx, target, filesystem.UnmountOptions{}))
	check(t, f.s.Recover(f.ctx))
	if active() {
		t.Error("got an active device without a view, want it inactive")
	}
	check(t, f.s.Remove(f.ctx, "web"))
	check(t, f.removeAll())
}

// Views are made and removed concurrently, and the device of each is active.
func TestConcurrentViews(t *testing.T) {
	f := newFixture(t)
	f.layer("a", "")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			key := fmt.Sprint("look", i)
			for range 20 {
				mounts, err := f.s.View(f.ctx, key, "a")
				if err == nil {
					_, err = f.Files.Inodes(mounts[0].Source, "")
				}
				if err = errors.Join(err, f.s.Remove(f.ctx, key)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	check(t, f.verify())
	check(t, f.removeAll())
}

// prepareWritten prepares a snapshot and writes to it.
func (f *fixture) prepareWritten(key, parent string) error {
	mounts, err := f.s.Prepare(f.ctx, key, parent)
	if err != nil {
		return err
	}
	return f.write(mounts, key)
}

// Concurrent first calls of Prepare, in processes and namespaces of their own, format one template, and none disturbs
// another that measures it.
func TestConcurrentFirstPrepare(t *testing.T) {
	f := newFixture(t)
	var all sync.WaitGroup
	for i := range 16 {
		_, s := f.process(containerd.Options{Namespace: fmt.Sprint("n", i)})
		all.Go(func() {
			if _, err := s.Prepare(f.ctx, "first", ""); err != nil {
				t.Error(err)
			}
			if usage, err := s.Usage(f.ctx, "first"); err != nil || usage != (core.Usage{}) {
				t.Errorf("usage: got %+v, error %v, want 0", usage, err)
			}
		})
	}
	all.Wait()
	if formats, _ := f.Files.Counts(); formats != 1 {
		t.Errorf("got %d formats, want 1", formats)
	}
	check(t, f.verify())
}

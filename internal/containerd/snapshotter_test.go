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

// A chain of layers, a container and a view on it, as containerd makes them.
func TestLife(t *testing.T) {
	st := newStage(t)
	st.layer("a", "")
	st.layer("b", "a")
	formats, mounts := st.Files.Counts()
	web, err := st.s.Prepare(st.ctx, "web", "b", core.WithLabels(map[string]string{"x": "1", "empty": ""}))
	check(t, err)
	look, err := st.s.View(st.ctx, "look", "b")
	check(t, err)
	if f, m := st.Files.Counts(); f != formats || m != mounts {
		t.Errorf("%d formats and %d mounts to prepare two snapshots", f-formats, m-mounts)
	}
	check(t, st.has(web, "a", "b"))
	check(t, st.write(web, "mine"))
	check(t, st.has(look, "a", "b"))
	if got := fmt.Sprint(look[0].Options); got != "[ro noload]" {
		t.Errorf("a view is mounted with %s", got)
	}
	again, err := st.s.Mounts(st.ctx, "web")
	check(t, err)
	check(t, st.has(again, "a", "b", "mine"))
	info, err := st.s.Stat(st.ctx, "web")
	check(t, err)
	if info.Kind != core.KindActive || info.Parent != "b" || fmt.Sprint(info.Labels) != "map[x:1]" ||
		info.Created.IsZero() {
		t.Errorf("web is %+v", info)
	}
	is(t, st.s.Remove(st.ctx, "b"), fault.Refused, "remove")
	is(t, st.s.Commit(st.ctx, "c", "look"), fault.Refused, "view")
	is(t, st.s.Commit(st.ctx, "a", "web"), fault.Exists)
	_, err = st.s.Mounts(st.ctx, "a")
	is(t, err, fault.Refused, "committed")
	_, err = st.s.Prepare(st.ctx, "new", "web")
	is(t, err, fault.Invalid, "not committed")
	_, err = st.s.Prepare(st.ctx, "new", "nobody")
	is(t, err, fault.NotFound, `"nobody"`)
	_, err = st.s.View(st.ctx, "web", "b")
	is(t, err, fault.Exists)
	check(t, st.s.Remove(st.ctx, "web"))
	_, err = st.s.View(st.ctx, "web", "b")
	check(t, err)
	check(t, st.agree())
	check(t, st.takeDown())
	check(t, st.s.Close())
	check(t, st.s.Close())
}

// After a reboot a snapshot's device comes back with Mounts, and what was
// unfinished when the power went can be committed.
func TestReboot(t *testing.T) {
	st := newStage(t)
	st.layer("a", "")
	web, err := st.s.Prepare(st.ctx, "web", "a")
	check(t, err)
	check(t, st.write(web, "mine"))
	st.PowerOff(t)
	st.reopen()
	_, err = st.s.Mounts(st.ctx, "web")
	is(t, err, thinpool.ErrInactive)
	check(t, st.pool.Activate(st.ctx))
	check(t, st.s.Recover(st.ctx))
	usage, err := st.s.Usage(st.ctx, "web")
	check(t, err)
	if usage.Inodes != 1 {
		t.Errorf("usage after a reboot: %+v", usage)
	}
	mounts, err := st.s.Mounts(st.ctx, "web")
	check(t, err)
	check(t, st.has(mounts, "a", "mine"))
	st.PowerOff(t)
	st.reopen()
	check(t, st.pool.Activate(st.ctx))
	check(t, st.s.Commit(st.ctx, "b", "web"))
	look, err := st.s.View(st.ctx, "look", "b")
	check(t, err)
	check(t, st.has(look, "a", "mine"))
	check(t, st.takeDown())
}

// Each namespace sees its own, and the command line's layers are nobody's.
func TestNamespaces(t *testing.T) {
	st := newStage(t)
	_, other := st.process(containerd.Options{Namespace: "k8s.io"})
	_, like := st.process(containerd.Options{Namespace: "def"}) // a prefix of "default"
	_, err := st.pool.CreateVolume(st.ctx, "own", thinpool.VolumeOptions{})
	check(t, err)
	st.layer("a", "")
	check(t, layer(st, other, "a", ""))
	check(t, layer(st, other, "b", "a"))
	for _, c := range []struct {
		s    *containerd.Snapshotter
		want string
	}{{st.s, "[a]"}, {other, "[a b]"}, {like, "[]"}} {
		if got := fmt.Sprint(st.names(c.s)); got != c.want {
			t.Errorf("namespace %s shows %s, want %s", c.s.Namespace(), got, c.want)
		}
	}
	check(t, st.s.Remove(st.ctx, "a"))
	is(t, other.Remove(st.ctx, "a"), fault.Refused)
	check(t, st.agree())
	for _, name := range []string{"", "/", "a/b", "-a", strings.Repeat("x", 65)} {
		_, err := containerd.New(st.pool, st.Files, containerd.Options{Namespace: name})
		if name != "" {
			is(t, err, fault.Invalid)
		}
	}
	_, err = st.pool.RemoveVolume(st.ctx, volumeOf(t, st), thinpool.RemoveOptions{})
	is(t, err, fault.Invalid, "containerd")
}

func volumeOf(t *testing.T, st *stage) string {
	t.Helper()
	volumes, err := st.pool.Volumes(st.ctx)
	check(t, err)
	i := slices.IndexFunc(volumes, func(v thinpool.Volume) bool { return v.For == "containerd" })
	if i < 0 {
		t.Fatal("no snapshot has a volume")
	}
	return volumes[i].Name
}

// Keys and labels may be anything that containerd could think of, and no more.
func TestKeys(t *testing.T) {
	st := newStage(t)
	st.layer("a", "")
	for _, key := range []string{strings.Repeat("k", 1000), "default/12/a b\tc\nd\x00e", "../../etc", "schlüssel/鍵", "/", "labels.x==1", "'\"\\"} {
		mounts, err := st.s.Prepare(st.ctx, key, "a")
		check(t, err)
		check(t, st.has(mounts, "a"))
		if !slices.Contains(st.names(st.s), key) {
			t.Errorf("key %q is not listed", key)
		}
		check(t, st.s.Commit(st.ctx, key+"'s", key))
		_, err = st.s.View(st.ctx, key, key+"'s")
		check(t, err)
	}
	for _, key := range []string{"", strings.Repeat("k", 17<<10), "\xff"} {
		_, err := st.s.Prepare(st.ctx, key, "a")
		is(t, err, fault.Invalid)
		_, err = st.s.Stat(st.ctx, key)
		is(t, err, fault.Invalid)
		is(t, st.s.Remove(st.ctx, key), fault.Invalid)
		is(t, st.s.Commit(st.ctx, key, "a"), fault.Invalid)
	}
	for _, labels := range []map[string]string{{"": "x"}, {"k": strings.Repeat("v", 4096)}, {"k": "\xff"},
		{"containerd.io/snapshot/max-size": "10G"}, {"containerd.io/snapshot/max-size": "-1"}, {"containerd.io/snapshot/max-size": "9223372036854775807"}} {
		_, err := st.s.Prepare(st.ctx, "new", "a", core.WithLabels(labels))
		is(t, err, fault.Invalid, "label")
	}
	check(t, st.takeDown())
}

func TestUpdateAndWalk(t *testing.T) {
	st := newStage(t)
	st.layer("a", "")
	_, err := st.s.Prepare(
		st.ctx,
		"web",
		"a",
		core.WithLabels(map[string]string{"l1": "1", "l2": "2", "dotted.key": "d"}),
	)
	check(t, err)
	info, err := st.s.Update(
		st.ctx,
		core.Info{Name: "web", Labels: map[string]string{"l1": "new", "l3": "3"}},
		"labels.l1",
		"labels.l2",
	)
	check(t, err)
	if got := fmt.Sprint(info.Labels); got != "map[dotted.key:d l1:new]" || !info.Updated.After(info.Created) {
		t.Errorf("updated to %s at %v", got, info.Updated)
	}
	_, err = st.s.Update(st.ctx, core.Info{Name: "web"}, "parent")
	is(t, err, fault.Invalid, "parent")
	_, err = st.s.Update(st.ctx, core.Info{Name: "nobody"})
	is(t, err, fault.NotFound)
	for filter, want := range map[string]string{`kind==active`: "[web]", `parent==a`: "[web]", `name==a`: "[a]", `labels."dotted.key"==d`: "[web]",
		`labels.l2`: "[]", `parent!=""`: "[web]", `kind==committed,name==web`: "[]"} {
		if got := fmt.Sprint(st.names(st.s, filter)); got != want {
			t.Errorf("%s matches %s, want %s", filter, got, want)
		}
	}
	err = st.s.Walk(st.ctx, func(context.Context, core.Info) error { return nil }, "kind=~~(")
	is(t, err, fault.Invalid)
	// Calls from within are answered.
	check(t, st.s.Walk(st.ctx, func(_ context.Context, info core.Info) error {
		_, err := st.s.Stat(st.ctx, info.Name)
		return err
	}))
}

// A snapshot that is asked to be larger is; no child is smaller than its parent.
func TestSizes(t *testing.T) {
	o := thinpooltest.SmallPool()
	o.BaseSize = 32 * units.MiB
	st := newStageOn(t, o)
	label := func(size units.Bytes) map[string]string {
		return map[string]string{"containerd.io/snapshot/max-size": fmt.Sprint(uint64(size))}
	}
	sizes := func() map[string]units.Bytes {
		volumes, err := st.pool.Volumes(st.ctx)
		check(t, err)
		all := map[string]units.Bytes{}
		for _, v := range volumes {
			if v.For == "containerd" {
				all[v.Name] = v.Size
			}
		}
		return all
	}
	made := func(key, parent string, labels map[string]string, want units.Bytes) {
		t.Helper()
		before := sizes()
		mounts, err := st.s.Prepare(st.ctx, key, parent, core.WithLabels(labels))
		check(t, err)
		for name, size := range sizes() {
			if _, old := before[name]; !old && size != want {
				t.Errorf("%s has %s, want %s", key, size, want)
			}
		}
		check(t, st.with(mounts, func(string) error { return nil }))
	}
	made("default", "", nil, 32*units.MiB)
	made("small", "", label(20*units.MiB), 20*units.MiB)
	made("tiny", "", label(1), 16*units.MiB)
	made("large", "", label(50*units.MiB+1), 51*units.MiB)
	check(t, st.s.Commit(st.ctx, "parent", "large"))
	made("smaller", "parent", label(20*units.MiB), 51*units.MiB)
	made("larger", "parent", label(60*units.MiB), 60*units.MiB)
	check(t, st.takeDown())
}

// Usage has no more than what was written, and never less than nothing.
func TestUsage(t *testing.T) {
	st := newStage(t)
	scanned := map[string]containerd.Scanned{}
	_, s := st.process(containerd.Options{Exclusive: func(volume string) (containerd.Scanned, bool) {
		found, ok := scanned[volume]
		return found, ok
	}})
	usage := func(key string, inodes uint64, least, most units.Bytes) {
		t.Helper()
		u, err := s.Usage(st.ctx, key)
		check(t, err)
		if u.Inodes != int64(inodes) || units.Bytes(u.Size) < least || units.Bytes(u.Size) > most {
			t.Errorf("%s uses %+v, want %d inodes and %s to %s", key, u, inodes, least, most)
		}
	}
	first, err := s.Prepare(st.ctx, "first", "")
	check(t, err)
	usage("first", 0, 0, 0)
	check(t, st.write(first, "a"))
	usage("first", 1, 1, units.MiB)
	check(t, s.Commit(st.ctx, "a", "first"))
	usage("a", 1, 1, units.MiB)
	web, err := s.Prepare(st.ctx, "web", "a")
	check(t, err)
	_, err = s.View(st.ctx, "look", "a")
	check(t, err)
	usage("web", 0, 0, 0)
	usage("look", 0, 0, 0)
	check(t, st.with(web, func(root string) error {
		usage("web", 0, 0, 0)
		if err := os.WriteFile(filepath.Join(root, "b"), []byte("b"), 0o600); err != nil {
			return err
		}
		usage("web", 1, 0, units.MiB)
		return os.Remove(filepath.Join(root, "a"))
	}))
	usage("web", 0, 1, units.MiB)
	volumes, err := st.pool.Volumes(st.ctx)
	check(t, err)
	for _, v := range volumes {
		if v.Active && !v.ReadOnly && v.For == "containerd" {
			scanned[v.Name] = containerd.Scanned{Exclusive: 7 * units.MiB, Mapped: 0}
		}
	}
	usage("web", 0, 7*units.MiB, 9*units.MiB)
	_, err = s.Usage(st.ctx, "nobody")
	is(t, err, fault.NotFound)
}

// Whoever has a snapshot mounted is neither waited for nor disturbed.
func TestStrangers(t *testing.T) {
	st := newStage(t)
	st.layer("a", "")
	web, err := st.s.Prepare(st.ctx, "web", "a")
	check(t, err)
	target := t.TempDir()
	check(t, st.Files.Mount(st.ctx, web[0].Source, target, filesystem.MountOptions{Type: filesystem.Ext4}))
	check(t, os.WriteFile(filepath.Join(target, "b"), []byte("b"), 0o600))
	check(t, st.s.Commit(st.ctx, "b", "web")) // it is still mounted
	check(t, os.WriteFile(filepath.Join(target, "late"), []byte("late"), 0o600))
	look, err := st.s.View(st.ctx, "look", "b")
	check(t, err)
	check(t, st.has(look, "a", "b"))
	check(t, st.s.Cleanup(st.ctx))
	status, err := st.pool.Status(st.ctx)
	check(t, err)
	if status.Tombstones != 1 {
		t.Errorf("%d tombstones wait for the stranger", status.Tombstones)
	}
	check(t, st.Files.Unmount(st.ctx, target, filesystem.UnmountOptions{}))
	check(t, st.agree())
	db, err := st.s.Prepare(st.ctx, "db", "b")
	check(t, err)
	check(t, st.Files.Mount(st.ctx, db[0].Source, target, filesystem.MountOptions{Type: filesystem.Ext4}))
	check(t, st.s.Remove(st.ctx, "db"))
	_, err = st.s.Prepare(st.ctx, "db", "b")
	check(t, err)
	check(t, st.Files.Unmount(st.ctx, target, filesystem.UnmountOptions{}))
	check(t, st.agree())
	check(t, st.takeDown())
}

// All views of a parent show its own volume, which takes no block and no device id,
// and whose device is there as long as one of them is; snapshots of it are taken
// meanwhile.
func TestViewsShareTheirParent(t *testing.T) {
	st := newStage(t)
	st.layer("a", "")
	check(t, st.s.Cleanup(st.ctx))
	before, err := st.pool.Status(st.ctx)
	check(t, err)
	first, err := st.s.View(
		st.ctx,
		"one",
		"a",
		core.WithLabels(map[string]string{"containerd.io/snapshot/max-size": "1073741824"}),
	)
	check(t, err)
	second, err := st.s.View(st.ctx, "two", "a")
	check(t, err)
	if first[0].Source != second[0].Source {
		t.Errorf("they are %s and %s", first[0].Source, second[0].Source)
	}
	status, err := st.pool.Status(st.ctx)
	check(t, err)
	if status.Volumes != before.Volumes || status.Kernel.TransactionID != before.Kernel.TransactionID ||
		status.Data.Used != before.Data.Used {
		t.Errorf("there were %+v, and are %+v", before, status)
	}
	usage, err := st.s.Usage(st.ctx, "one")
	if err != nil || usage != (core.Usage{}) {
		t.Errorf("a view takes %+v, %v", usage, err)
	}
	check(t, st.with(first, func(string) error { return errors.Join(st.has(second, "a"), st.writes("web", "a")) }))
	is(t, st.s.Remove(st.ctx, "a"), fault.Refused)
	is(t, st.s.Commit(st.ctx, "b", "one"), fault.Refused)

	active := func() bool {
		t.Helper()
		check(t, st.s.Cleanup(st.ctx))
		volumes, err := st.pool.Volumes(st.ctx)
		check(t, err)
		for _, v := range volumes {
			if v.Node == first[0].Source {
				return v.Active
			}
		}
		return false
	}
	check(t, st.s.Remove(st.ctx, "one"))
	if !active() {
		t.Error("the other view's device is gone")
	}
	check(t, st.has(second, "a"))
	target := t.TempDir()
	check(
		t,
		st.Files.Mount(
			st.ctx,
			second[0].Source,
			target,
			filesystem.MountOptions{Type: filesystem.Ext4, ReadOnly: true},
		),
	)
	check(t, st.s.Remove(st.ctx, "two")) // by a stranger's mount nobody is kept waiting
	if !active() {
		t.Error("a device is gone that somebody has mounted")
	}
	check(t, st.Files.Unmount(st.ctx, target, filesystem.UnmountOptions{}))
	check(t, st.s.Recover(st.ctx))
	if active() {
		t.Error("the device is there, and nothing shows it")
	}
	check(t, st.s.Remove(st.ctx, "web"))
	check(t, st.takeDown())
}

// Views come and go at once, and each finds its device.
func TestViewsAtOnce(t *testing.T) {
	st := newStage(t)
	st.layer("a", "")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			key := fmt.Sprint("look", i)
			for range 20 {
				mounts, err := st.s.View(st.ctx, key, "a")
				if err == nil {
					_, err = st.Files.Inodes(mounts[0].Source, "")
				}
				if err = errors.Join(err, st.s.Remove(st.ctx, key)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	check(t, st.agree())
	check(t, st.takeDown())
}

// writes prepares a snapshot and writes to it.
func (st *stage) writes(key, parent string) error {
	mounts, err := st.s.Prepare(st.ctx, key, parent)
	if err != nil {
		return err
	}
	return st.write(mounts, key)
}

// The first of many at once, in namespaces and processes of their own, format one
// template, and none disturbs another that measures it.
func TestFirstOfMany(t *testing.T) {
	st := newStage(t)
	var all sync.WaitGroup
	for i := range 16 {
		_, s := st.process(containerd.Options{Namespace: fmt.Sprint("n", i)})
		all.Go(func() {
			if _, err := s.Prepare(st.ctx, "first", ""); err != nil {
				t.Error(err)
			}
			if usage, err := s.Usage(st.ctx, "first"); err != nil || usage != (core.Usage{}) {
				t.Errorf("usage %+v, %v", usage, err)
			}
		})
	}
	all.Wait()
	if formats, _ := st.Files.Counts(); formats != 1 {
		t.Errorf("%d file systems were made", formats)
	}
	check(t, st.agree())
}

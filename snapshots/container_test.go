package snapshots_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/blockdev"
	"thinctl/fault"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

func TestContainer(t *testing.T) {
	st := newStage(t)
	check(t, load(st.ctx, st.s, "a", "b"))
	web := st.create("web", id("b"))
	formats, mounts := st.Files.Counts()
	commits := st.Kernel.Commits()
	db := st.create("db", id("b"))
	if f, m := st.Files.Counts(); f != formats || m != mounts {
		t.Error("a second container of an image mounts or formats something")
	}
	if n := st.Kernel.Commits() - commits; n > 2 {
		t.Errorf("a second container of an image takes %d commits of the pool", n)
	}
	root, err := st.s.MountContainer(st.ctx, "web", snapshots.MountOptions{})
	check(t, err)
	if root != filepath.Join(st.pool.MountsDir(), web.ID) {
		t.Errorf("mounted at %s", root)
	}
	again, err := st.s.MountContainer(st.ctx, web.ID[:5], snapshots.MountOptions{})
	check(t, err)
	if again != root {
		t.Errorf("the second mount is at %s", again)
	}
	for _, stub := range []string{"dev/pts", "dev/shm", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "dev/console", ".dockerenv", "file-a", "file-b"} {
		if _, err := os.Lstat(filepath.Join(root, stub)); err != nil {
			t.Error(err)
		}
	}
	if link, err := os.Readlink(filepath.Join(root, "etc/mtab")); link != "/proc/mounts" {
		t.Error(link, err)
	}
	if _, err := os.Lstat(filepath.Join(root, "lost+found")); !errors.Is(err, os.ErrNotExist) {
		t.Error("lost+found is there", err)
	}
	check(t, os.WriteFile(filepath.Join(root, "mine"), []byte("x"), 0o600))
	// While it is mounted, a view of it is its mount.
	view, err := st.s.ViewContainer(st.ctx, "web")
	check(t, err)
	if view.Root != root {
		t.Errorf("viewed at %s", view.Root)
	}
	check(t, view.Close())
	check(t, st.s.UnmountContainer(st.ctx, "web"))
	says(t, st.s.UnmountContainer(st.ctx, "web"), snapshots.ErrNotMounted)
	view, err = st.s.ViewContainer(st.ctx, "web")
	check(t, err)
	if _, err := os.Stat(filepath.Join(view.Root, "mine")); err != nil {
		t.Error(err)
	}
	_, err = st.s.MountContainer(st.ctx, "web", snapshots.MountOptions{})
	says(t, err, snapshots.ErrMounted, ".view-")
	check(t, view.Close())
	_, err = st.s.RemoveContainer(st.ctx, "db", snapshots.RemoveOptions{})
	check(t, err)
	_, err = st.s.Container(st.ctx, db.ID)
	says(t, err, fault.NotFound)
	check(t, st.agree())
}

func TestContainerRefuses(t *testing.T) {
	st := newStage(t)
	check(t, load(st.ctx, st.s, "a"))
	st.create("web", id("a"))
	for name, kind := range map[string]error{"web": fault.Exists, "-x": fault.Invalid, "a b": fault.Invalid, "x": fault.Invalid, strings.Repeat("x", 129): fault.Invalid} {
		_, err := st.s.CreateContainer(st.ctx, snapshots.ContainerOptions{Name: name, Layer: id("a")})
		says(t, err, kind)
	}
	_, err := st.s.CreateContainer(st.ctx, snapshots.ContainerOptions{Layer: id("z")})
	says(t, err, fault.NotFound)
	_, err = st.s.CreateContainer(st.ctx, snapshots.ContainerOptions{Layer: id("a"), Size: units.MiB})
	says(t, err, fault.Invalid, "smaller")
	refusal := errors.New("no such image any more")
	_, err = st.s.CreateContainer(
		st.ctx,
		snapshots.ContainerOptions{
			Layer: id("a"),
			With:  func(*thinpool.Tx, snapshots.Container) error { return refusal },
		},
	)
	says(t, err, refusal)
	containers, err := st.s.Containers(st.ctx)
	check(t, err)
	if len(containers) != 1 {
		t.Errorf("%d containers", len(containers))
	}
	for _, missing := range []string{"nobody", "", id("z"), "../x"} {
		_, err = st.s.Container(st.ctx, missing)
		says(t, err, fault.NotFound)
	}
	check(t, st.agree())
}

func TestShortIDs(t *testing.T) {
	st := newStage(t)
	check(t, load(st.ctx, st.s, "aa", "ab"))
	_, err := st.s.Layer(st.ctx, id("a")[:2])
	says(t, err, snapshots.ErrAmbiguous, "more digits")
	l, err := st.s.Layer(st.ctx, id("ab")[:4])
	check(t, err)
	if l.ID != id("ab") {
		t.Error(l.ID)
	}
}

func TestContainerGrows(t *testing.T) {
	st := newStage(t)
	check(t, load(st.ctx, st.s, "a"))
	const large = 32 * units.MiB
	c, err := st.s.CreateContainer(st.ctx, snapshots.ContainerOptions{Name: "big", Layer: id("a"), Size: large})
	check(t, err)
	if c.Size != large || c.FileSystem != 16*units.MiB {
		t.Errorf("%+v", c)
	}
	_, err = st.s.MountContainer(st.ctx, "big", snapshots.MountOptions{ReadOnly: true})
	check(t, err)
	_, err = st.s.MountContainer(st.ctx, "big", snapshots.MountOptions{})
	says(t, err, snapshots.ErrMounted, "read-only at")
	check(t, st.s.UnmountContainer(st.ctx, "big"))
	// A layer that is committed before remembers that its file system is smaller.
	l, err := st.s.CommitContainer(st.ctx, "big", snapshots.CommitOptions{})
	check(t, err)
	if l.Volume != large || l.FileSystem != 16*units.MiB {
		t.Errorf("%+v", l)
	}
	_, err = st.s.MountContainer(st.ctx, "big", snapshots.MountOptions{})
	check(t, err)
	if c, err = st.s.Container(st.ctx, "big"); err != nil || c.FileSystem != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	over := st.create("over", l.ID)
	if over.Size != large || over.FileSystem != 16*units.MiB {
		t.Errorf("%+v", over)
	}
	_, err = st.s.MountContainer(st.ctx, "over", snapshots.MountOptions{})
	check(t, err)
	check(t, st.agree())
}

func TestEmptyImage(t *testing.T) {
	st := newStage(t)
	c := st.create("scratch", "")
	st.write(c, "x", "y")
	l, err := st.s.CommitContainer(st.ctx, "scratch", snapshots.CommitOptions{})
	check(t, err)
	if l.Parent != "" || l.Base != c.Init {
		t.Errorf("%+v", l)
	}
	check(t, st.s.WithTrees(st.ctx, l.Below(), l.Tree(), func(lower, upper string) error {
		_, err := os.Stat(filepath.Join(lower, "etc/hosts"))
		_, err2 := os.Stat(filepath.Join(upper, "x"))
		return errors.Join(err, err2)
	}))
	check(t, st.agree())
}

func TestCommit(t *testing.T) {
	st := newStage(t)
	check(t, load(st.ctx, st.s, "a"))
	web := st.create("web", id("a"))
	st.write(web, "file-w", strings.Repeat("w\n", 10))
	_, mounts := st.Files.Counts()
	mounted, err := st.s.CommitContainer(st.ctx, "web", snapshots.CommitOptions{})
	check(t, err)
	if _, now := st.Files.Counts(); now != mounts {
		t.Error("a commit mounts something")
	}
	if mounted.Parent != id("a") || mounted.Base != web.Init || mounted.DiffID != "" || len(mounted.ID) != 64 {
		t.Errorf("%+v", mounted)
	}
	st.write(web, "later", "")
	check(t, st.s.UnmountContainer(st.ctx, "web"))
	still, err := st.s.CommitContainer(st.ctx, "web", snapshots.CommitOptions{})
	check(t, err)
	for layer, want := range map[string]bool{mounted.ID: false, still.ID: true} {
		view, err := st.s.ViewLayer(st.ctx, layer)
		check(t, err)
		if _, err := os.Stat(filepath.Join(view.Root, "file-w")); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(view.Root, "later")); (err == nil) != want {
			t.Errorf("later: %v, want %v", err, want)
		}
		check(t, view.Close())
	}
	refusal := errors.New("no")
	_, err = st.s.CommitContainer(
		st.ctx,
		"web",
		snapshots.CommitOptions{With: func(*thinpool.Tx, snapshots.Layer) error { return refusal }},
	)
	says(t, err, refusal)
	// A container over a committed layer, whose init is its own.
	over := st.create("over", still.ID)
	if over.Init != still.ID {
		t.Errorf("%+v", over)
	}
	check(t, st.agree())
}

func TestDigests(t *testing.T) {
	st := newStage(t)
	check(t, load(st.ctx, st.s, "a"))
	st.create("web", id("a"))
	one, err := st.s.CommitContainer(st.ctx, "web", snapshots.CommitOptions{})
	check(t, err)
	st.create("next", one.ID)
	two, err := st.s.CommitContainer(st.ctx, "next", snapshots.CommitOptions{})
	check(t, err)
	digest := func(l string, c string) string { return "sha256:" + strings.Repeat(c, 64) }
	check(t, st.s.SetDigest(st.ctx, two.ID, snapshots.Digest{DiffID: digest(two.ID, "2"), Size: 7, Entries: 3}))
	got, err := st.s.Layer(st.ctx, two.ID)
	check(t, err)
	if got.ChainID != "" || got.Size != 7 || got.Entries != 3 {
		t.Errorf("%+v", got)
	}
	check(t, st.s.SetDigest(st.ctx, one.ID, snapshots.Digest{DiffID: digest(one.ID, "1"), Size: 7, Entries: 3}))
	for _, l := range []string{one.ID, two.ID} {
		got, err := st.s.Layer(st.ctx, l)
		check(t, err)
		if len(got.ChainID) != 64 || got.ID != l {
			t.Errorf("%+v", got)
		}
	}
	says(
		t,
		st.s.SetDigest(st.ctx, one.ID, snapshots.Digest{DiffID: digest(one.ID, "3"), Size: 7, Entries: 3}),
		fault.Invalid,
	)
	says(t, st.s.SetDigest(st.ctx, one.ID, snapshots.Digest{DiffID: "md5:1", Size: 7, Entries: 3}), fault.Invalid)
}

func TestRemoveMountedContainer(t *testing.T) {
	st := newStage(t)
	check(t, load(st.ctx, st.s, "a"))
	web := st.create("web", id("a"))
	st.write(web, "x", "y")
	root := filepath.Join(st.pool.MountsDir(), web.ID)
	leave := st.Files.Use(root)
	_, err := st.s.RemoveContainer(st.ctx, "web", snapshots.RemoveOptions{})
	says(t, err, snapshots.ErrMounted, "mounted at "+root)
	leave()
	volume, err := st.pool.VolumeStatus(st.ctx, "container-"+web.ID)
	check(t, err)
	gone, err := st.Files.MountElsewhere(
		blockdev.Number(volume.Dev),
		filesystem.Holder{
			Namespace:   4711,
			MountPoints: []string{"/mnt"},
			Processes:   []filesystem.Process{{PID: 99, Command: "sshd"}},
		},
	)
	check(t, err)
	_, err = st.s.RemoveContainer(st.ctx, "web", snapshots.RemoveOptions{})
	says(t, err, snapshots.ErrMounted, "4711", "sshd (pid 99)", "/mnt")
	if _, err := st.s.Container(st.ctx, "web"); err != nil {
		t.Error("a refused removal has removed:", err)
	}
	removed, err := st.s.RemoveContainer(st.ctx, "web", snapshots.RemoveOptions{Deferred: true})
	check(t, err)
	if !removed.Waiting || removed.Container != web.ID {
		t.Errorf("%+v", removed)
	}
	// Its name is free at once.
	st.create("web", id("a"))
	gone()
	_, waiting, err := st.pool.Reap(st.ctx)
	check(t, err)
	if len(waiting) != 0 {
		t.Errorf("%d still wait", len(waiting))
	}
	// Elsewhere in this namespace is not ours to unmount.
	elsewhere := filepath.Join(t.TempDir(), "m")
	_, err = st.s.MountContainer(st.ctx, "web", snapshots.MountOptions{Target: elsewhere})
	check(t, err)
	_, err = st.s.RemoveContainer(st.ctx, "web", snapshots.RemoveOptions{})
	says(t, err, snapshots.ErrMounted, elsewhere)
	check(t, st.s.UnmountContainer(st.ctx, "web"))
	_, err = st.s.RemoveContainer(st.ctx, "web", snapshots.RemoveOptions{})
	check(t, err)
	check(t, st.agree())
}

func TestTrim(t *testing.T) {
	st := newStage(t)
	check(t, load(st.ctx, st.s, "a"))
	web := st.create("web", id("a"))
	st.write(web, "x", "y")
	check(t, st.s.UnmountContainer(st.ctx, "web"))
	own := func() units.Bytes {
		sizes, err := st.s.Sizes(st.ctx, snapshots.SizesOptions{Own: true, Containers: []string{web.ID}})
		check(t, err)
		return sizes.Containers[web.ID].Own
	}
	if own() == 0 {
		t.Error("a written container takes nothing")
	}
	root, err := st.s.MountContainer(st.ctx, "web", snapshots.MountOptions{})
	check(t, err)
	check(t, os.Remove(filepath.Join(root, "x")))
	check(t, st.s.UnmountContainer(st.ctx, "web"))
	before := own()
	offered, err := st.s.TrimContainer(st.ctx, "web")
	check(t, err)
	if after := own(); after >= before || offered == 0 {
		t.Errorf("%s before the trim, %s after; offered %s", before, after, offered)
	}
	check(t, st.agree())
}

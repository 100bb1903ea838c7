package layers_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/blockdev"
	"thinctl/fault"
	"thinctl/internal/layers"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

func TestContainer(t *testing.T) {
	f := newFixture(t)
	check(t, load(f.ctx, f.s, "a", "b"))
	web := f.create("web", id("b"))
	formats, mounts := f.Files.Counts()
	commits := f.Kernel.Commits()
	db := f.create("db", id("b"))
	if nowFormats, nowMounts := f.Files.Counts(); nowFormats != formats || nowMounts != mounts {
		t.Errorf("a second container of an image: got %d formats and %d mounts, want none", nowFormats-formats,
			nowMounts-mounts)
	}
	if n := f.Kernel.Commits() - commits; n > 2 {
		t.Errorf("a second container of an image: got %d commits of the pool, want at most 2", n)
	}
	root, err := f.s.MountContainer(f.ctx, "web", layers.MountOptions{})
	check(t, err)
	if root != filepath.Join(f.pool.MountsDir(), web.ID) {
		t.Errorf("got mount point %s, want %s", root, filepath.Join(f.pool.MountsDir(), web.ID))
	}
	again, err := f.s.MountContainer(f.ctx, web.ID[:5], layers.MountOptions{})
	check(t, err)
	if again != root {
		t.Errorf("second mount: got mount point %s, want %s", again, root)
	}
	for _, stub := range []string{"dev/pts", "dev/shm", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf",
		"dev/console", ".dockerenv", "file-a", "file-b"} {
		if _, err := os.Lstat(filepath.Join(root, stub)); err != nil {
			t.Error(err)
		}
	}
	if link, err := os.Readlink(filepath.Join(root, "etc/mtab")); link != "/proc/mounts" {
		t.Errorf("etc/mtab: got link to %q, error %v, want /proc/mounts", link, err)
	}
	if _, err := os.Lstat(filepath.Join(root, "lost+found")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("lost+found: got error %v, want it absent", err)
	}
	check(t, os.WriteFile(filepath.Join(root, "mine"), []byte("x"), 0o600))
	// A view of a mounted container uses its mount.
	view, err := f.s.ViewContainer(f.ctx, "web")
	check(t, err)
	if view.Root != root {
		t.Errorf("view: got %s, want the mount point %s", view.Root, root)
	}
	check(t, view.Close())
	check(t, f.s.UnmountContainer(f.ctx, "web"))
	wantError(t, f.s.UnmountContainer(f.ctx, "web"), layers.ErrNotMounted)
	view, err = f.s.ViewContainer(f.ctx, "web")
	check(t, err)
	if _, err := os.Stat(filepath.Join(view.Root, "mine")); err != nil {
		t.Error(err)
	}
	_, err = f.s.MountContainer(f.ctx, "web", layers.MountOptions{})
	wantError(t, err, layers.ErrMounted, ".view-")
	wantCure(t, err, layers.Cure{Code: layers.CureUnmount, Pool: poolName, Container: "web"})
	check(t, view.Close())
	_, err = f.s.RemoveContainer(f.ctx, "db", layers.RemoveOptions{})
	check(t, err)
	_, err = f.s.Container(f.ctx, db.ID)
	wantError(t, err, fault.NotFound)
	wantCure(t, err, layers.Cure{Code: layers.CureList, What: "container"})
	check(t, f.verify())
}

func TestContainerRejects(t *testing.T) {
	f := newFixture(t)
	check(t, load(f.ctx, f.s, "a"))
	f.create("web", id("a"))
	for name, kind := range map[string]error{"web": fault.Exists, "-x": fault.Invalid, "a b": fault.Invalid,
		"x": fault.Invalid, strings.Repeat("x", 129): fault.Invalid} {
		t.Run(fmt.Sprintf("name %.20q", name), func(t *testing.T) {
			_, err := f.s.CreateContainer(f.ctx, layers.ContainerOptions{Name: name, Layer: id("a")})
			wantError(t, err, kind)
		})
	}
	_, err := f.s.CreateContainer(f.ctx, layers.ContainerOptions{Layer: id("z")})
	wantError(t, err, fault.NotFound)
	_, err = f.s.CreateContainer(f.ctx, layers.ContainerOptions{Layer: id("a"), Size: units.MiB})
	wantError(t, err, fault.Invalid, "smaller")
	refusal := errors.New("the image has been removed")
	_, err = f.s.CreateContainer(
		f.ctx,
		layers.ContainerOptions{
			Layer: id("a"),
			With:  func(*thinpool.Tx, layers.Container) error { return refusal },
		},
	)
	wantError(t, err, refusal)
	containers, err := f.s.Containers(f.ctx)
	check(t, err)
	if len(containers) != 1 {
		t.Errorf("got %d containers, want 1", len(containers))
	}
	for _, missing := range []string{"missing", "", id("z"), "../x"} {
		_, err = f.s.Container(f.ctx, missing)
		wantError(t, err, fault.NotFound)
	}
	check(t, f.verify())
}

func TestShortIDs(t *testing.T) {
	f := newFixture(t)
	check(t, load(f.ctx, f.s, "aa", "ab"))
	_, err := f.s.Layer(f.ctx, id("a")[:2])
	wantError(t, err, layers.ErrAmbiguous, "more digits")
	l, err := f.s.Layer(f.ctx, id("ab")[:4])
	check(t, err)
	if l.ID != id("ab") {
		t.Errorf("got layer %s, want %s", l.ID, id("ab"))
	}
}

func TestContainerGrows(t *testing.T) {
	f := newFixture(t)
	check(t, load(f.ctx, f.s, "a"))
	const large = 32 * units.MiB
	c, err := f.s.CreateContainer(f.ctx, layers.ContainerOptions{Name: "big", Layer: id("a"), Size: large})
	check(t, err)
	if c.Size != large || c.FileSystem != 16*units.MiB {
		t.Errorf("got %+v, want 32M with a file system of 16M", c)
	}
	_, err = f.s.MountContainer(f.ctx, "big", layers.MountOptions{ReadOnly: true})
	check(t, err)
	_, err = f.s.MountContainer(f.ctx, "big", layers.MountOptions{})
	wantError(t, err, layers.ErrMounted, "read-only at")
	check(t, f.s.UnmountContainer(f.ctx, "big"))
	// A layer that is committed before the file system grows records the smaller size.
	l, err := f.s.CommitContainer(f.ctx, "big", layers.CommitOptions{})
	check(t, err)
	if l.Volume != large || l.FileSystem != 16*units.MiB {
		t.Errorf("got %+v, want 32M with a file system of 16M", l)
	}
	_, err = f.s.MountContainer(f.ctx, "big", layers.MountOptions{})
	check(t, err)
	if c, err = f.s.Container(f.ctx, "big"); err != nil || c.FileSystem != 0 {
		t.Errorf("got %+v, error %v, want a file system as large as the volume", c, err)
	}
	over := f.create("over", l.ID)
	if over.Size != large || over.FileSystem != 16*units.MiB {
		t.Errorf("got %+v, want 32M with a file system of 16M", over)
	}
	_, err = f.s.MountContainer(f.ctx, "over", layers.MountOptions{})
	check(t, err)
	check(t, f.verify())
}

func TestEmptyImage(t *testing.T) {
	f := newFixture(t)
	c := f.create("scratch", "")
	f.write(c, "x", "y")
	l, err := f.s.CommitContainer(f.ctx, "scratch", layers.CommitOptions{})
	check(t, err)
	if l.Parent != "" || l.Base != c.Init {
		t.Errorf("got %+v, want no parent and base %s", l, c.Init)
	}
	check(t, f.s.WithTrees(f.ctx, l.Below(), l.Tree(), true, func(trees snapshots.Trees) error {
		_, err := os.Stat(filepath.Join(trees.Lower, "etc/hosts"))
		_, err2 := os.Stat(filepath.Join(trees.Upper, "x"))
		return errors.Join(err, err2)
	}))
	check(t, f.verify())
}

func TestCommit(t *testing.T) {
	f := newFixture(t)
	check(t, load(f.ctx, f.s, "a"))
	web := f.create("web", id("a"))
	f.write(web, "file-w", strings.Repeat("w\n", 10))
	_, mounts := f.Files.Counts()
	mounted, err := f.s.CommitContainer(f.ctx, "web", layers.CommitOptions{})
	check(t, err)
	if _, now := f.Files.Counts(); now != mounts {
		t.Errorf("commit: got %d mounts, want 0", now-mounts)
	}
	if mounted.Parent != id("a") || mounted.Base != web.Init || mounted.DiffID != "" || len(mounted.ID) != 64 {
		t.Errorf("got %+v, want parent %s, base %s, no digest and an id of 64 digits", mounted, id("a"), web.Init)
	}
	f.write(web, "later", "")
	check(t, f.s.UnmountContainer(f.ctx, "web"))
	still, err := f.s.CommitContainer(f.ctx, "web", layers.CommitOptions{})
	check(t, err)
	for layer, want := range map[string]bool{mounted.ID: false, still.ID: true} {
		view, err := f.s.ViewLayer(f.ctx, layer)
		check(t, err)
		if _, err := os.Stat(filepath.Join(view.Root, "file-w")); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(view.Root, "later")); (err == nil) != want {
			t.Errorf("file later: got error %v, want it present: %t", err, want)
		}
		check(t, view.Close())
	}
	refusal := errors.New("no")
	_, err = f.s.CommitContainer(
		f.ctx,
		"web",
		layers.CommitOptions{With: func(*thinpool.Tx, layers.Layer) error { return refusal }},
	)
	wantError(t, err, refusal)
	// The init of a container on a committed layer is that layer.
	over := f.create("over", still.ID)
	if over.Init != still.ID {
		t.Errorf("got init %s, want %s", over.Init, still.ID)
	}
	check(t, f.verify())
}

func TestDigests(t *testing.T) {
	f := newFixture(t)
	check(t, load(f.ctx, f.s, "a"))
	f.create("web", id("a"))
	one, err := f.s.CommitContainer(f.ctx, "web", layers.CommitOptions{})
	check(t, err)
	f.create("next", one.ID)
	two, err := f.s.CommitContainer(f.ctx, "next", layers.CommitOptions{})
	check(t, err)
	digest := func(l string, c string) string { return "sha256:" + strings.Repeat(c, 64) }
	check(t, f.s.SetDigest(f.ctx, two.ID, layers.Digest{DiffID: digest(two.ID, "2"), Size: 7, Entries: 3}))
	got, err := f.s.Layer(f.ctx, two.ID)
	check(t, err)
	if got.ChainID != "" || got.Size != 7 || got.Entries != 3 {
		t.Errorf("got %+v, want 7 bytes, 3 entries and no chain id while the parent has none", got)
	}
	check(t, f.s.SetDigest(f.ctx, one.ID, layers.Digest{DiffID: digest(one.ID, "1"), Size: 7, Entries: 3}))
	for _, l := range []string{one.ID, two.ID} {
		got, err := f.s.Layer(f.ctx, l)
		check(t, err)
		if len(got.ChainID) != 64 || got.ID != l {
			t.Errorf("got %+v, want id %s and a chain id", got, l)
		}
	}
	wantError(
		t,
		f.s.SetDigest(f.ctx, one.ID, layers.Digest{DiffID: digest(one.ID, "3"), Size: 7, Entries: 3}),
		fault.Invalid,
	)
	wantError(t, f.s.SetDigest(f.ctx, one.ID, layers.Digest{DiffID: "md5:1", Size: 7, Entries: 3}), fault.Invalid)
}

func TestRemoveMountedContainer(t *testing.T) {
	f := newFixture(t)
	check(t, load(f.ctx, f.s, "a"))
	web := f.create("web", id("a"))
	f.write(web, "x", "y")
	root := filepath.Join(f.pool.MountsDir(), web.ID)
	leave := f.Files.Use(root)
	_, err := f.s.RemoveContainer(f.ctx, "web", layers.RemoveOptions{})
	wantError(t, err, layers.ErrMounted, "mounted at "+root)
	leave()
	volume, err := f.pool.VolumeStatus(f.ctx, "container-"+web.ID)
	check(t, err)
	gone, err := f.Files.MountElsewhere(
		blockdev.Number(volume.Dev),
		filesystem.Holder{
			Namespace:   4711,
			MountPoints: []string{"/mnt"},
			Processes:   []filesystem.Process{{PID: 99, Command: "sshd"}},
		},
	)
	check(t, err)
	_, err = f.s.RemoveContainer(f.ctx, "web", layers.RemoveOptions{})
	wantError(t, err, layers.ErrMounted, "4711", "sshd (pid 99)", "/mnt")
	if _, err := f.s.Container(f.ctx, "web"); err != nil {
		t.Errorf("after the refused removal: got error %v, want the container kept", err)
	}
	removed, err := f.s.RemoveContainer(f.ctx, "web", layers.RemoveOptions{Deferred: true})
	check(t, err)
	if !removed.Waiting || removed.Container != web.ID {
		t.Errorf("got %+v, want a deferred removal of %s", removed, web.ID)
	}
	// The name can be used again at once.
	f.create("web", id("a"))
	gone()
	_, waiting, err := f.pool.Reap(f.ctx)
	check(t, err)
	if len(waiting) != 0 {
		t.Errorf("got %d volumes to be deleted later, want 0", len(waiting))
	}
	// A removal does not unmount a container that was mounted at another target.
	elsewhere := filepath.Join(t.TempDir(), "m")
	_, err = f.s.MountContainer(f.ctx, "web", layers.MountOptions{Target: elsewhere})
	check(t, err)
	_, err = f.s.RemoveContainer(f.ctx, "web", layers.RemoveOptions{})
	wantError(t, err, layers.ErrMounted, elsewhere)
	check(t, f.s.UnmountContainer(f.ctx, "web"))
	_, err = f.s.RemoveContainer(f.ctx, "web", layers.RemoveOptions{})
	check(t, err)
	check(t, f.verify())
}

func TestTrim(t *testing.T) {
	f := newFixture(t)
	check(t, load(f.ctx, f.s, "a"))
	web := f.create("web", id("a"))
	f.write(web, "x", "y")
	check(t, f.s.UnmountContainer(f.ctx, "web"))
	own := func() units.Bytes {
		sizes, err := f.s.Sizes(f.ctx, layers.SizesOptions{Own: true, Containers: []string{web.ID}})
		check(t, err)
		return sizes.Containers[web.ID].Own
	}
	if own() == 0 {
		t.Error("a container with a file: got 0 bytes of its own, want more")
	}
	root, err := f.s.MountContainer(f.ctx, "web", layers.MountOptions{})
	check(t, err)
	check(t, os.Remove(filepath.Join(root, "x")))
	check(t, f.s.UnmountContainer(f.ctx, "web"))
	before := own()
	offered, err := f.s.TrimContainer(f.ctx, "web")
	check(t, err)
	if after := own(); after >= before || offered == 0 {
		t.Errorf("got %s of its own after the trim, %s offered; want less than %s", after, offered, before)
	}
	check(t, f.verify())
}

//go:build kernel

package integration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/internal/layers"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

func layerID(n int) string { return fmt.Sprintf("%064x", n) }

func noise(seed uint64, size units.Bytes) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// layerContents are the changes that the three layers of the tests make.
func layerContents() []func(root string) error {
	return []func(root string) error{
		func(root string) error {
			if err := os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755); err != nil {
				return err
			}
			return errors.Join(
				os.WriteFile(filepath.Join(root, "usr/bin/large"), noise(1, 8*units.MiB), 0o755),
				os.WriteFile(filepath.Join(root, "usr/doomed"), noise(2, units.MiB), 0o644),
				os.Symlink("usr/bin", filepath.Join(root, "bin")))
		},
		func(root string) error {
			return errors.Join(
				os.WriteFile(filepath.Join(root, "usr/two"), noise(3, 2*units.MiB), 0o644),
				os.Chmod(filepath.Join(root, "usr/bin/large"), 0o4755))
		},
		func(root string) error {
			return errors.Join(
				os.Remove(filepath.Join(root, "usr/doomed")),
				os.WriteFile(filepath.Join(root, "usr/three"), noise(4, units.MiB), 0o644))
		},
	}
}

// TestSnapshots makes layers and containers on real file systems.
func TestSnapshots(t *testing.T) {
	for _, fs := range []filesystem.Type{filesystem.Ext4, filesystem.XFS} {
		t.Run(string(fs), func(t *testing.T) {
			ctx := testContext(t)
			pool := newPool(t, thinpool.CreateOptions{DataSize: units.GiB, MetadataSize: 8 * units.MiB, BaseSize: units.GiB})
			f := &fixture{t: t, ctx: ctx, pool: pool, s: layers.New(pool, filesystem.Local{}, layers.Options{FS: fs})}
			f.layers()
			f.containers()
			f.held()
			f.takeDown()
		})
	}
}

type fixture struct {
	t    *testing.T
	ctx  context.Context
	pool *thinpool.Pool
	s    *layers.Store
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) container(name string) layers.Container {
	f.t.Helper()
	c, err := f.s.Container(f.ctx, name)
	f.must(err)
	return c
}

func (f *fixture) used() units.Bytes {
	f.t.Helper()
	usage, err := f.pool.Usage(f.ctx, thinpool.UsageOptions{})
	f.must(err)
	return usage.Used
}

func (f *fixture) layers() {
	contents := layerContents()
	var chainIDs []string
	for i := range contents {
		chainIDs = append(chainIDs, layerID(i+1))
	}
	began := time.Now()
	chain, err := f.s.BeginChain(f.ctx, layers.ChainOptions{Layers: chainIDs})
	f.must(err)
	defer chain.Close()
	for i, content := range contents {
		_, err := chain.Add(f.ctx, layers.LayerSpec{ID: chainIDs[i], Last: i == len(contents)-1},
			func(root string) (layers.Filled, error) {
				return layers.Filled{}, content(root)
			})
		f.must(err)
	}
	f.must(chain.Finish(f.ctx, nil))
	f.t.Logf("template and three layers: %s", time.Since(began).Round(time.Millisecond))
	// Each layer holds the result of its steps on an empty directory.
	want := f.t.TempDir()
	f.must(os.Chmod(want, 0o755))
	for i, content := range contents {
		f.must(content(want))
		view, err := f.s.ViewLayer(f.ctx, chainIDs[i])
		f.must(err)
		if got, want := listing(f.t, view.Root), listing(f.t, want); got != want {
			f.t.Errorf("layer %d:\n%s\nwant\n%s", i+1, got, want)
		}
		if err := os.WriteFile(filepath.Join(view.Root, "x"), nil, 0o600); !errors.Is(err, unix.EROFS) {
			f.t.Errorf("a layer's view can be written: %v", err)
		}
		f.must(view.Close())
	}
	sizes, err := f.s.Sizes(f.ctx, layers.SizesOptions{})
	f.must(err)
	for i, least := range []units.Bytes{9 * units.MiB, 2 * units.MiB, units.MiB} {
		own := sizes.Layers[chainIDs[i]].Own
		f.t.Logf("layer %d: %s of %s written are its own", i+1, own, least)
		if own < least || own > least+least/4+2*units.MiB {
			f.t.Errorf("layer %d: got %s of its own, want at least %s", i+1, own, least)
		}
	}
}

// listing returns a tree as text: paths, modes, links and contents.
func listing(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		fmt.Fprintf(&b, "%s %s", rel, info.Mode())
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(content))
		case info.Mode()&os.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %s", link)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func (f *fixture) containers() {
	top := layerID(3)
	began := time.Now()
	_, err := f.s.CreateContainer(f.ctx, layers.ContainerOptions{Name: "web", Layer: top})
	f.must(err)
	first := time.Since(began)
	before := f.used()
	began = time.Now()
	_, err = f.s.CreateContainer(f.ctx, layers.ContainerOptions{Name: "large", Layer: top, Size: 2 * units.GiB})
	f.must(err)
	f.t.Logf("first container %s, second %s", first.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	if more := f.used() - before; more != 0 {
		f.t.Errorf("space of a second container: got %s", more)
	}
	large, err := f.s.MountContainer(f.ctx, "large", layers.MountOptions{})
	f.must(err)
	var st unix.Statfs_t
	f.must(unix.Statfs(large, &st))
	if size := units.Bytes(st.Blocks) * units.Bytes(st.Bsize); size < 1700*units.MiB {
		f.t.Errorf("file system of a container of 2 GiB: got %s", size)
	}
	f.must(f.s.UnmountContainer(f.ctx, "large"))

	root, err := f.s.MountContainer(f.ctx, "web", layers.MountOptions{})
	f.must(err)
	if _, err := os.Stat(filepath.Join(root, "etc/hostname")); err != nil {
		f.t.Error(err)
	}
	f.must(os.WriteFile(filepath.Join(root, "mine"), noise(5, 4*units.MiB), 0o600)) // not synced
	began = time.Now()
	layer, err := f.s.CommitContainer(f.ctx, "web", layers.CommitOptions{})
	f.must(err)
	f.t.Logf("commit with 4 MiB unwritten: %s", time.Since(began).Round(time.Millisecond))
	f.must(os.WriteFile(filepath.Join(root, "later"), nil, 0o600))
	f.must(f.s.WithTrees(f.ctx, layer.Below(), layer.Tree(), true, func(trees snapshots.Trees) error {
		lower, upper := trees.Lower, trees.Upper
		got, err := os.ReadFile(filepath.Join(upper, "mine"))
		if err != nil || !bytes.Equal(got, noise(5, 4*units.MiB)) {
			f.t.Errorf("mine in the committed layer: %d bytes, %v", len(got), err)
		}
		changed := slices.DeleteFunc(strings.Split(listing(f.t, upper), "\n"), func(line string) bool {
			return slices.Contains(strings.Split(listing(f.t, lower), "\n"), line)
		})
		if len(changed) != 1 || !strings.HasPrefix(changed[0], "mine ") {
			f.t.Errorf("changed in the commit: %q", changed)
		}
		return nil
	}))
	sizes, err := f.s.Sizes(f.ctx, layers.SizesOptions{Own: true, Layers: []string{layer.ID}})
	f.must(err)
	if own := sizes.Layers[layer.ID].Own; own < 4*units.MiB || own > 8*units.MiB {
		f.t.Errorf("the committed layer: got %s of its own", own)
	}
	// A trim frees the space of removed files.
	f.must(os.Remove(filepath.Join(root, "mine")))
	f.must(os.WriteFile(filepath.Join(root, "passing"), noise(6, 16*units.MiB), 0o600))
	f.must(filesystem.Sync(f.ctx, root))
	full := f.used()
	f.must(os.Remove(filepath.Join(root, "passing")))
	f.must(filesystem.Sync(f.ctx, root))
	_, err = f.s.TrimContainer(f.ctx, "web")
	f.must(err)
	if back := full - f.used(); back < 12*units.MiB || back > full {
		f.t.Errorf("trim: got %s freed, want 16 MiB", back)
	}
	_, err = f.s.RemoveLayers(f.ctx, []string{layerID(3)}, layers.RemovalOptions{})
	if !errors.Is(err, fault.Busy) || !strings.Contains(err.Error(), "container ") {
		f.t.Errorf("the layer below containers: %v", err)
	}
	_, err = f.s.RemoveLayers(f.ctx, []string{layer.ID}, layers.RemovalOptions{})
	f.must(err)
}

// elsewhere starts a process in a mount namespace of its own, with copies of our mounts; dir
// is its working directory.
func (f *fixture) elsewhere(dir string) (pid int, end func()) {
	sleep := exec.Command("sleep", "1000")
	sleep.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	sleep.Dir = dir
	f.must(sleep.Start())
	return sleep.Process.Pid, func() {
		_ = sleep.Process.Kill()
		_ = sleep.Wait() // it was killed
	}
}

// held: a process in another mount namespace keeps a container in use by its open files,
// not by its copy of the mount alone.
func (f *fixture) held() {
	_, end := f.elsewhere("/")
	defer end()
	large, err := f.s.MountContainer(f.ctx, "large", layers.MountOptions{})
	f.must(err)
	_, end = f.elsewhere("/")
	defer end()
	_, err = f.s.RemoveContainer(f.ctx, "large", layers.RemoveOptions{})
	if _, there := os.Stat(large); err != nil || there == nil {
		f.t.Errorf("remove a container that is mounted in another namespace: got %v, %v", err, there)
	}
	pid, end := f.elsewhere(filepath.Join(f.pool.MountsDir(), f.container("web").ID))
	defer end()
	f.must(f.s.UnmountContainer(f.ctx, "web"))
	_, err = f.s.RemoveContainer(f.ctx, "web", layers.RemoveOptions{})
	if !errors.Is(err, layers.ErrMounted) || !strings.Contains(err.Error(), fmt.Sprintf("sleep (pid %d)", pid)) {
		f.t.Errorf("removing what another namespace works in: %v", err)
	}
	removed, err := f.s.RemoveContainer(f.ctx, "web", layers.RemoveOptions{Deferred: true})
	f.must(err)
	if !removed.Waiting {
		f.t.Errorf("%+v", removed)
	}
	// The name is free at once, while the process is still in the container.
	_, err = f.s.CreateContainer(f.ctx, layers.ContainerOptions{Name: "web", Layer: layerID(3)})
	f.must(err)
}

// takeDown removes everything; only the template's blocks stay.
func (f *fixture) takeDown() {
	f.must(f.s.Recover(f.ctx))
	_, err := f.s.RemoveContainer(f.ctx, "web", layers.RemoveOptions{})
	f.must(err)
	all := []string{layerID(1), layerID(2), layerID(3)}
	plan, err := f.s.PlanRemoval(f.ctx, all, layers.RemovalOptions{Measure: true})
	f.must(err)
	before := f.used()
	_, err = f.s.RemoveLayers(f.ctx, all, layers.RemovalOptions{})
	f.must(err)
	after := f.used()
	if before-after != *plan.Freed {
		f.t.Errorf("freed space: got %s, want %s", before-after, plan.Freed)
	}
	usage, err := f.pool.Usage(f.ctx, thinpool.UsageOptions{})
	f.must(err)
	if len(usage.Volumes) != 1 || !strings.HasPrefix(usage.Volumes[0].Name, "template-") ||
		usage.Volumes[0].Mapped != after {
		f.t.Errorf("got volumes %+v, want only the template", usage.Volumes)
	}
	found, err := f.s.Check(f.ctx)
	f.must(err)
	if len(found) != 0 {
		f.t.Errorf("%+v", found)
	}
	f.t.Logf("the template takes %s", after)
}

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

// layerContents are what the three layers of the tests change.
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

// TestSnapshots has layers and containers on real file systems.
func TestSnapshots(t *testing.T) {
	for _, fs := range []filesystem.Type{filesystem.Ext4, filesystem.XFS} {
		t.Run(string(fs), func(t *testing.T) {
			ctx := testContext(t)
			pool := newPool(t, thinpool.CreateOptions{DataSize: units.GiB, MetadataSize: 8 * units.MiB, BaseSize: units.GiB})
			r := &rig{t: t, ctx: ctx, pool: pool, s: snapshots.New(pool, filesystem.Local{}, snapshots.Options{FS: fs})}
			r.layers()
			r.containers()
			r.held()
			r.takeDown()
		})
	}
}

type rig struct {
	t    *testing.T
	ctx  context.Context
	pool *thinpool.Pool
	s    *snapshots.Store
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) container(name string) snapshots.Container {
	r.t.Helper()
	c, err := r.s.Container(r.ctx, name)
	r.must(err)
	return c
}

func (r *rig) used() units.Bytes {
	r.t.Helper()
	usage, err := r.pool.Usage(r.ctx, thinpool.UsageOptions{})
	r.must(err)
	return usage.Used
}

func (r *rig) layers() {
	contents := layerContents()
	var chainIDs []string
	for i := range contents {
		chainIDs = append(chainIDs, layerID(i+1))
	}
	began := time.Now()
	chain, err := r.s.BeginChain(r.ctx, snapshots.ChainOptions{Layers: chainIDs})
	r.must(err)
	defer chain.Close()
	for i, content := range contents {
		_, err := chain.Add(r.ctx, snapshots.LayerSpec{ID: chainIDs[i], Last: i == len(contents)-1}, func(root string) (snapshots.Filled, error) {
			return snapshots.Filled{}, content(root)
		})
		r.must(err)
	}
	r.must(chain.Finish(r.ctx, nil))
	r.t.Logf("template and three layers: %s", time.Since(began).Round(time.Millisecond))
	// Each layer is what its steps make of an empty folder.
	want := r.t.TempDir()
	r.must(os.Chmod(want, 0o755))
	for i, content := range contents {
		r.must(content(want))
		view, err := r.s.ViewLayer(r.ctx, chainIDs[i])
		r.must(err)
		if got, want := listing(r.t, view.Root), listing(r.t, want); got != want {
			r.t.Errorf("layer %d:\n%s\nwant\n%s", i+1, got, want)
		}
		if err := os.WriteFile(filepath.Join(view.Root, "x"), nil, 0o600); !errors.Is(err, unix.EROFS) {
			r.t.Errorf("a layer's view can be written: %v", err)
		}
		r.must(view.Close())
	}
	sizes, err := r.s.Sizes(r.ctx, snapshots.SizesOptions{})
	r.must(err)
	for i, least := range []units.Bytes{9 * units.MiB, 2 * units.MiB, units.MiB} {
		own := sizes.Layers[chainIDs[i]].Own
		r.t.Logf("layer %d: %s of %s written are its own", i+1, own, least)
		if own < least || own > least+least/4+2*units.MiB {
			r.t.Errorf("layer %d has %s of its own, %s were written", i+1, own, least)
		}
	}
}

// listing is a tree as text: paths, modes, links and contents.
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

func (r *rig) containers() {
	top := layerID(3)
	began := time.Now()
	_, err := r.s.CreateContainer(r.ctx, snapshots.ContainerOptions{Name: "web", Layer: top})
	r.must(err)
	first := time.Since(began)
	before := r.used()
	began = time.Now()
	_, err = r.s.CreateContainer(r.ctx, snapshots.ContainerOptions{Name: "large", Layer: top, Size: 2 * units.GiB})
	r.must(err)
	r.t.Logf("first container %s, second %s", first.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	if more := r.used() - before; more != 0 {
		r.t.Errorf("a second container takes %s", more)
	}
	large, err := r.s.MountContainer(r.ctx, "large", snapshots.MountOptions{})
	r.must(err)
	var st unix.Statfs_t
	r.must(unix.Statfs(large, &st))
	if size := units.Bytes(st.Blocks) * units.Bytes(st.Bsize); size < 1700*units.MiB {
		r.t.Errorf("a container of 2 GiB has a file system of %s", size)
	}
	r.must(r.s.UnmountContainer(r.ctx, "large"))

	root, err := r.s.MountContainer(r.ctx, "web", snapshots.MountOptions{})
	r.must(err)
	if _, err := os.Stat(filepath.Join(root, "etc/hostname")); err != nil {
		r.t.Error(err)
	}
	r.must(os.WriteFile(filepath.Join(root, "mine"), noise(5, 4*units.MiB), 0o600)) // not synced
	began = time.Now()
	layer, err := r.s.CommitContainer(r.ctx, "web", snapshots.CommitOptions{})
	r.must(err)
	r.t.Logf("commit with 4 MiB unwritten: %s", time.Since(began).Round(time.Millisecond))
	r.must(os.WriteFile(filepath.Join(root, "later"), nil, 0o600))
	r.must(r.s.WithTrees(r.ctx, layer.Below(), layer.Tree(), func(lower, upper string) error {
		got, err := os.ReadFile(filepath.Join(upper, "mine"))
		if err != nil || !bytes.Equal(got, noise(5, 4*units.MiB)) {
			r.t.Errorf("mine in the committed layer: %d bytes, %v", len(got), err)
		}
		changed := slices.DeleteFunc(strings.Split(listing(r.t, upper), "\n"), func(line string) bool {
			return slices.Contains(strings.Split(listing(r.t, lower), "\n"), line)
		})
		if len(changed) != 1 || !strings.HasPrefix(changed[0], "mine ") {
			r.t.Errorf("changed in the commit: %q", changed)
		}
		return nil
	}))
	sizes, err := r.s.Sizes(r.ctx, snapshots.SizesOptions{Own: true, Layers: []string{layer.ID}})
	r.must(err)
	if own := sizes.Layers[layer.ID].Own; own < 4*units.MiB || own > 8*units.MiB {
		r.t.Errorf("the committed layer has %s of its own", own)
	}
	// A trim gives back what was removed.
	r.must(os.Remove(filepath.Join(root, "mine")))
	r.must(os.WriteFile(filepath.Join(root, "passing"), noise(6, 16*units.MiB), 0o600))
	r.must(filesystem.Sync(r.ctx, root))
	full := r.used()
	r.must(os.Remove(filepath.Join(root, "passing")))
	r.must(filesystem.Sync(r.ctx, root))
	_, err = r.s.TrimContainer(r.ctx, "web")
	r.must(err)
	if back := full - r.used(); back < 12*units.MiB || back > full {
		r.t.Errorf("a trim gives %s of 16 MiB back", back)
	}
	_, err = r.s.RemoveLayers(r.ctx, []string{layerID(3)}, snapshots.RemovalOptions{})
	if !errors.Is(err, snapshots.ErrInUse) || !strings.Contains(err.Error(), "container ") {
		r.t.Errorf("the layer below containers: %v", err)
	}
	_, err = r.s.RemoveLayers(r.ctx, []string{layer.ID}, snapshots.RemovalOptions{})
	r.must(err)
}

// stranger is a process in a mount namespace of its own, with its copies of our
// mounts; dir is where it works.
func (r *rig) stranger(dir string) (pid int, end func()) {
	sleep := exec.Command("sleep", "1000")
	sleep.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	sleep.Dir = dir
	r.must(sleep.Start())
	return sleep.Process.Pid, func() {
		_ = sleep.Process.Kill()
		_ = sleep.Wait() // it was killed
	}
}

// held: a process in another mount namespace keeps a container by what it has
// open there, and not by its mere copy of the mount.
func (r *rig) held() {
	_, end := r.stranger("/")
	defer end()
	large, err := r.s.MountContainer(r.ctx, "large", snapshots.MountOptions{})
	r.must(err)
	_, end = r.stranger("/")
	defer end()
	_, err = r.s.RemoveContainer(r.ctx, "large", snapshots.RemoveOptions{})
	if _, there := os.Stat(large); err != nil || there == nil {
		r.t.Errorf("removing what another namespace has a copy of: %v, %v", err, there)
	}
	pid, end := r.stranger(filepath.Join(r.pool.MountsDir(), r.container("web").ID))
	defer end()
	r.must(r.s.UnmountContainer(r.ctx, "web"))
	_, err = r.s.RemoveContainer(r.ctx, "web", snapshots.RemoveOptions{})
	if !errors.Is(err, snapshots.ErrMounted) || !strings.Contains(err.Error(), fmt.Sprintf("sleep (pid %d)", pid)) {
		r.t.Errorf("removing what another namespace works in: %v", err)
	}
	removed, err := r.s.RemoveContainer(r.ctx, "web", snapshots.RemoveOptions{Deferred: true})
	r.must(err)
	if !removed.Waiting {
		r.t.Errorf("%+v", removed)
	}
	// Its name is free at once, while the stranger is still in there.
	_, err = r.s.CreateContainer(r.ctx, snapshots.ContainerOptions{Name: "web", Layer: layerID(3)})
	r.must(err)
}

// takeDown removes all; the template's blocks stay and no others.
func (r *rig) takeDown() {
	r.must(r.s.Recover(r.ctx))
	_, err := r.s.RemoveContainer(r.ctx, "web", snapshots.RemoveOptions{})
	r.must(err)
	all := []string{layerID(1), layerID(2), layerID(3)}
	plan, err := r.s.PlanRemoval(r.ctx, all, snapshots.RemovalOptions{Measure: true})
	r.must(err)
	before := r.used()
	_, err = r.s.RemoveLayers(r.ctx, all, snapshots.RemovalOptions{})
	r.must(err)
	after := r.used()
	if before-after != *plan.Freed {
		r.t.Errorf("%s came back, %s were planned", before-after, plan.Freed)
	}
	usage, err := r.pool.Usage(r.ctx, thinpool.UsageOptions{})
	r.must(err)
	if len(usage.Volumes) != 1 || !strings.HasPrefix(usage.Volumes[0].Name, "template-") || usage.Volumes[0].Mapped != after {
		r.t.Errorf("left: %+v", usage.Volumes)
	}
	found, err := r.s.Check(r.ctx)
	r.must(err)
	if len(found) != 0 {
		r.t.Errorf("%+v", found)
	}
	r.t.Logf("the template takes %s", after)
}

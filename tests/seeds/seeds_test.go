//go:build kernel

package seeds

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"thinctl/internal/testkit/figures"
	"thinctl/internal/testkit/imagetest"
	"thinctl/tests/programs"
)

const mib = 1 << 20

// small is the most that a step may use that copies nothing.
const small = 2 * mib

// experiment is one run of all the steps, in order.
type experiment struct {
	*testing.T
	*figures.Table
	programs.Thinctl
	scale    int64
	one, two *imagetest.Built
}

func TestSeeds(t *testing.T) {
	e := &experiment{T: t, Table: figures.New(t), scale: 16,
		Thinctl: programs.Thinctl{Root: t.TempDir(), Pool: "seeds"}}
	if text := os.Getenv("THINCTL_SEEDS_SCALE"); text != "" {
		scale, err := strconv.ParseInt(text, 10, 64)
		e.check(err)
		e.scale = scale
	}
	one, two := imagetest.Seeds(imagetest.SeedOptions{Scale: e.scale})
	e.one, e.two = e.build(one), e.build(two)
	defer e.Print()
	e.newStore()
	t.Cleanup(func() { e.destroy(e.Thinctl) })
	e.firstImage()
	e.secondImage()
	e.containers()
	e.zeros()
	e.fewerZeros()
	before := e.commit()
	e.remove(before)
	e.saveAndLoad()
}

func (e *experiment) check(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

func (e *experiment) build(image imagetest.Image) *imagetest.Built {
	e.Helper()
	b, err := imagetest.Build(image)
	e.check(err)
	return b
}

func (e *experiment) destroy(p programs.Thinctl) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := p.Destroy(ctx); err != nil {
		e.Error(err)
	}
}

func (e *experiment) space() programs.PoolSpace {
	e.Helper()
	space, err := e.Space(e.Context())
	e.check(err)
	return space
}

func (e *experiment) newStore() {
	e.check(e.Create(e.Context()))
	space := e.space()
	e.Same("new store: data", "100 G", int64(100<<30+8<<10), space.Data.File.Apparent) // with the pool's mark
	e.Same("new store: metadata", "2.0 G", int64(2<<30), space.Metadata.File.Apparent)
	e.Within("new store: data allocated", "sparse", space.Data.File.Allocated, 0, small)
}

// load loads an image, and checks that it is whole and how much space it has used.
func (e *experiment) load(b *imagetest.Built, saw string) {
	e.Helper()
	path := filepath.Join(e.TempDir(), "image.tar")
	file, err := os.Create(path)
	e.check(err)
	e.check(errors.Join(imagetest.WriteDocker(file, b), file.Close()))
	before := e.space()
	e.check(e.Load(e.Context(), path, "--fs", "ext4"))
	e.check(os.Remove(path))
	after := e.space()
	name := b.Names[0]
	e.Within(name+": data", saw, after.Data.Used-before.Data.Used, b.Size(), b.Size()*5/4+e.unscaled(b))
	// The used space includes the kernel's reserve: up to 16 MiB (dm-thin-metadata.c).
	e.Within(name+": metadata", "1.2 M, 1.4 M in all", after.Metadata.Used-before.Metadata.Used, 0, 2*mib)
	e.whole(e.Thinctl, b)
}

// unscaled is the space that an image may use that does not shrink with its files: an empty
// file system, and the blocks of it that each layer's snapshot copies. At full size the
// quarter that the bound allows covers it.
func (e *experiment) unscaled(b *imagetest.Built) int64 {
	if e.scale == 1 {
		return 0
	}
	cost := int64(len(b.Contents)) * mib
	if b == e.one {
		cost += 8 * small
	}
	return cost
}

// whole checks id and layers.
func (e *experiment) whole(p programs.Thinctl, b *imagetest.Built) {
	e.Helper()
	id, err := p.ID(e.Context(), b.Names[0])
	e.check(err)
	e.Same(b.Names[0]+": id", "", b.ID, id)
	layers, err := p.Layers(e.Context())
	e.check(err)
	var want, seen []int64
	for i, chain := range b.ChainIDs {
		want = append(want, b.Contents[i].Size())
		seen = append(seen, layers[chain].Size)
		if _, ok := layers[chain]; !ok {
			e.Errorf("%s: layer %d, %s, is not listed", b.Names[0], i, chain)
		}
	}
	e.Same(b.Names[0]+": layers", "", want, seen)
}

// wholeTree checks the tree too, from a container of the image.
func (e *experiment) wholeTree(p programs.Thinctl, b *imagetest.Built) {
	e.Helper()
	e.whole(p, b)
	want, err := b.Tree()
	e.check(err)
	e.sameTree(b.Names[0], want, e.tree(p, b.Names[0]).WithoutStubs(want))
}

func (e *experiment) tree(p programs.Thinctl, image string) imagetest.Tree {
	e.Helper()
	tree, err := p.Tree(e.Context(), image)
	e.check(err)
	return tree
}

func (e *experiment) sameTree(what string, want, seen imagetest.Tree) {
	e.Helper()
	for _, line := range want.Diff(seen, 10) {
		e.Errorf("%s: %s", what, line)
	}
	e.Same(what+": tree of "+strconv.Itoa(len(want))+" paths", "", want.Digest()[:12], seen.Digest()[:12])
}

func (e *experiment) firstImage()  { e.load(e.one, "590 M (a new base in it)") }
func (e *experiment) secondImage() { e.load(e.two, "+197 M") }

func (e *experiment) containers() {
	layers := e.imageLayers()
	// They share the base, which exists once.
	e.Same("layers of both images", "12 less the base", len(e.one.ChainIDs)+len(e.two.ChainIDs)-1, len(layers))
	before := e.space()
	root := e.mount("c1")
	first := e.space()
	e.Within("a container of image 1: data", "+2 M", first.Data.Used-before.Data.Used, 0, small)
	e.Within("a container of image 1: metadata", "1.5 M in all", first.Metadata.Used-before.Metadata.Used, 0, 2*mib)
	want, err := e.one.Tree()
	e.check(err)
	seen, err := imagetest.ReadTree(e.Context(), root)
	e.check(err)
	e.sameTree("the container", want, seen.WithoutStubs(want))
	container, err := e.Container(e.Context(), "c1")
	e.check(err)
	all, err := e.Layers(e.Context())
	e.check(err)
	top := e.one.ChainIDs[len(e.one.ChainIDs)-1]
	e.Same("<id> and <id>-init are listed", "yes", true, container.ID != "" && all[top+"-init"].Init)
	one := e.space() // reading it has written times of access
	for n := 2; n <= 5; n++ {
		e.mount(fmt.Sprintf("c%d", n))
	}
	five := e.space()
	e.Within("four more, each: data", "tens of KB", (five.Data.Used-one.Data.Used)/4, 0, small/4)
	e.Same("the image is stored once: layers", "yes", len(layers), len(e.imageLayers()))
}

// imageLayers returns the layers that are no container's init.
func (e *experiment) imageLayers() map[string]programs.Layer {
	e.Helper()
	layers, err := e.Layers(e.Context())
	e.check(err)
	maps.DeleteFunc(layers, func(_ string, l programs.Layer) bool { return l.Init })
	return layers
}

func (e *experiment) mount(container string) string {
	e.Helper()
	root, err := e.Mount(e.Context(), e.one.Names[0], container)
	e.check(err)
	return root
}

// dd writes so many MiB of zeros, scaled, into a container's /test.txt.
func (e *experiment) dd(count int64) (written int64) {
	e.Helper()
	root, err := e.Do(e.Context(), "container", "mount", e.Pool, "c1")
	e.check(err)
	file, err := os.Create(filepath.Join(root, "test.txt"))
	e.check(err)
	count /= e.scale
	zeros := make([]byte, mib)
	for range count {
		_, err := file.Write(zeros)
		e.check(err)
	}
	e.check(errors.Join(file.Sync(), file.Close()))
	return count * mib
}

func (e *experiment) zeros() {
	before := e.space()
	written := e.dd(8000)
	after := e.space()
	e.Within("dd 8000 x 1 MiB: data", "8.6 G", after.Data.Used-before.Data.Used, written, written+written/100+small)
	e.Within("dd 8000 x 1 MiB: metadata", "9.4 M", after.Metadata.Used-before.Metadata.Used, 0, 8*mib)
	container, err := e.Container(e.Context(), "c1")
	e.check(err)
	e.Within("dd 8000 x 1 MiB: size", "7.5 G in diff", container.Size, written, written+written/100+small)
}

func (e *experiment) fewerZeros() {
	before := e.space()
	root, err := e.Do(e.Context(), "container", "mount", e.Pool, "c1")
	e.check(err)
	e.check(os.Remove(filepath.Join(root, "test.txt")))
	e.dd(3000)
	syscall.Sync()
	_, err = e.Do(e.Context(), "pool", "trim", e.Pool)
	e.check(err)
	after := e.space()
	back := (8000/e.scale - 3000/e.scale) * mib
	e.Within("rm, dd 3000, trim: pool's data back", "", before.Data.Used-after.Data.Used, back-small, back+small)
	e.Within("rm, dd 3000, trim: host's file back", "", before.Data.File.Allocated-after.Data.File.Allocated, back-small,
		back+small)
}

// commit returns the tree that the committed image must have.
func (e *experiment) commit() imagetest.Tree {
	root, err := e.Do(e.Context(), "container", "mount", e.Pool, "c1")
	e.check(err)
	want, err := imagetest.ReadTree(e.Context(), root)
	e.check(err)
	before := e.space()
	began := time.Now()
	_, err = e.Do(e.Context(), "container", "commit", e.Pool, "c1", "thinctl/committed:1")
	e.check(err)
	took := time.Since(began)
	bound := time.Second
	if emulated() {
		bound *= 10
	}
	e.Within("commit: new data", "3.0 G, a copy", e.space().Data.Used-before.Data.Used, 0, small)
	e.Same(fmt.Sprintf("commit: %.2f s is less than %s", took.Seconds(), bound), "", true, took < bound)
	return want
}

// emulated reports whether QEMU emulates the processor.
func emulated() bool {
	text, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && strings.Contains(string(text), "TCG")
}

func (e *experiment) remove(committed imagetest.Tree) {
	e.unmount("c1")
	told, err := e.Freed(e.Context(), "container", "c1")
	e.check(err)
	before := e.space()
	_, err = e.Do(e.Context(), "container", "remove", e.Pool, "c1", "--yes")
	e.check(err)
	e.Same("rm the container: freed, as announced", "", told, before.Data.Used-e.space().Data.Used)
	base, err := e.one.Tree()
	e.check(err)
	e.sameTree("the committed image", committed.WithoutStubs(base),
		e.tree(e.Thinctl, "thinctl/committed:1").WithoutStubs(base))

	told, err = e.Freed(e.Context(), "image", "thinctl/committed:1")
	e.check(err)
	before = e.space()
	_, err = e.Do(e.Context(), "image", "remove", e.Pool, "thinctl/committed:1", "--yes")
	e.check(err)
	after := e.space()
	e.Same("rm the committed image: freed, as announced", "", told, before.Data.Used-after.Data.Used)
	// The rest is what dd has written, and times of access in the container.
	e.Within("rm the committed image: freed", "", told, 3000/e.scale*mib-small, 3000/e.scale*mib+6*small)
	e.Within("rm the committed image: host's file back", "", before.Data.File.Allocated-after.Data.File.Allocated,
		told-small, told+small)
}

func (e *experiment) unmount(container string) {
	e.Helper()
	_, err := e.Do(e.Context(), "container", "unmount", e.Pool, container)
	e.check(err)
}

func (e *experiment) saveAndLoad() {
	archive := filepath.Join(e.TempDir(), "both.tar")
	e.check(e.Save(e.Context(), archive, e.one.Names[0], e.two.Names[0]))
	fresh := programs.Thinctl{Root: e.TempDir(), Pool: "fresh"}
	e.check(fresh.Create(e.Context()))
	defer e.destroy(fresh)
	e.check(fresh.Load(e.Context(), archive, "--fs", "ext4"))
	for _, b := range []*imagetest.Built{e.one, e.two} {
		e.wholeTree(fresh, b)
	}
	e.wholeTree(e.Thinctl, e.two)
	for n := 2; n <= 5; n++ {
		e.check(e.Remove(e.Context(), fmt.Sprintf("c%d", n)))
	}
}

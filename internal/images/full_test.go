package images_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/images"
	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/imagetest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots"
	"thinctl/thinpool"
	"thinctl/units"
)

// state returns a description of everything that a failed operation must not change:
// blocks, volumes, images and layers.
func (b *fixture) state() string {
	b.Helper()
	used := b.used()
	volumes, err := b.pool.Volumes(b.ctx)
	b.check(err)
	var text strings.Builder
	fmt.Fprintf(&text, "%s used; images %v\n", used, b.list())
	for _, v := range volumes {
		fmt.Fprintln(&text, v.Name, v.Size, v.For)
	}
	layers, err := b.s.Layers().Layers(b.ctx)
	b.check(err)
	for _, l := range layers {
		fmt.Fprintf(&text, "%+v\n", l)
	}
	return text.String()
}

// A load that fills the pool fails with an error for that. Afterwards the pool is as it was
// before, apart from complete layers, which can be removed.
func TestPoolFullInALoad(t *testing.T) {
	for _, at := range []int{0, 1, 2} { // the layer that is too large
		t.Run(fmt.Sprintf("layer %d", at+1), func(t *testing.T) {
			o := thinpooltest.SmallPool()
			o.DataSize, o.ErrorIfFull = 6*units.MiB, true // 96 blocks
			b := newFixtureOn(t, o)
			one := knownOne(t)
			_, err := b.s.Load(b.ctx, one.Image, images.LoadOptions{Names: names(t, one.Names...)})
			b.check(err)
			before := b.state()
			large := knownLarge(t, at)
			b.extra = []*known{large}
			_, err = b.s.Load(b.ctx, large.Image, images.LoadOptions{Names: names(t, "large:1")})
			if !errors.Is(err, fault.Full) {
				t.Fatalf("got %v, want an error for a full pool", err)
			}
			for _, word := range []string{"load image large:1", large.ChainIDs[at][:12], "pool p"} {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("got %v, want %q in it", err, word)
				}
			}
			wantExtension(t, err)
			if _, err := b.s.Image(b.ctx, "large:1"); !errors.Is(err, reference.ErrNotFound) {
				t.Errorf("the image's name after the failure: got %v, want %v", err, reference.ErrNotFound)
			}
			b.onlyLayers(one.ChainIDs, large.ChainIDs[:at])
			for _, f := range b.faults(true) {
				t.Error(f)
			}
			status, err := b.pool.Status(b.ctx)
			b.check(err)
			if status.Kernel.Mode != dm.ModeWrite {
				t.Errorf("pool mode after the failure: got %s, want rw", status.Kernel.Mode)
			}
			b.removeLayers(large.ChainIDs[:at])
			if after := b.state(); after != before {
				t.Errorf("state: got\n%s, want\n%s", after, before)
			}
			_, err = b.pool.Extend(b.ctx, thinpool.ExtendOptions{Data: 64 * units.MiB, Metadata: status.Metadata.Total})
			b.check(err)
			_, err = b.s.Load(b.ctx, large.Image, images.LoadOptions{Names: names(t, "large:1")})
			b.check(err)
			for _, f := range b.faults(false) {
				t.Errorf("after the pool was extended: %v", f)
			}
		})
	}
}

// wantExtension checks that the cure of an error is to extend the data of the pool p.
func wantExtension(t *testing.T, err error) {
	t.Helper()
	var below *snapshots.Error
	want := snapshots.PoolFull{Pool: "p"}
	if !errors.As(err, &below) || below.Cure != want {
		t.Errorf("got %v, want an error with the cure %+v", err, want)
	}
}

// An import that fills the pool changes nothing.
func TestPoolFullInAnImport(t *testing.T) {
	o := thinpooltest.SmallPool()
	o.DataSize, o.ErrorIfFull = 6*units.MiB, true
	b := newFixtureOn(t, o)
	one := knownOne(t)
	_, err := b.s.Load(b.ctx, one.Image, images.LoadOptions{Names: names(t, one.Names...)})
	b.check(err)
	before := b.state()
	large := knownLarge(t, 0)
	_, err = b.s.Import(b.ctx, strings.NewReader(string(large.tar)), images.ImportOptions{Names: names(t, "large:1")})
	if !errors.Is(err, fault.Full) {
		t.Fatalf("got %v, want an error for a full pool", err)
	}
	wantExtension(t, err)
	for _, f := range b.faults(false) {
		t.Error(f)
	}
	if after := b.state(); after != before {
		t.Errorf("state: got\n%s, want\n%s", after, before)
	}
}

// onlyLayers fails if there are other layers than these.
func (b *fixture) onlyLayers(sets ...[]string) {
	b.Helper()
	want := map[string]bool{}
	for _, set := range sets {
		for _, id := range set {
			want[id] = true
		}
	}
	layers, err := b.s.Layers().Layers(b.ctx)
	b.check(err)
	for _, l := range layers {
		if !want[l.ID] {
			b.Errorf("got layer %s, want it removed", l.ID)
		}
		delete(want, l.ID)
	}
	for id := range want {
		b.Errorf("layer %s is missing", id)
	}
}

// removeLayers removes the layers that no image has.
func (b *fixture) removeLayers(ids []string) {
	b.Helper()
	_, err := b.s.Layers().RemoveLayers(b.ctx, ids, layers.RemovalOptions{Needed: images.Needed, Unused: true})
	b.check(err)
	b.check(b.s.Recover(b.ctx)) // their splits
}

// spoiled is an image with one wrong layer.
type spoiled struct {
	v1.Image
	at   int
	with func(v1.Layer) v1.Layer
}

func (s spoiled) Layers() ([]v1.Layer, error) {
	layers, err := s.Image.Layers()
	if err == nil {
		layers[s.at] = s.with(layers[s.at])
	}
	return layers, err
}

// cut is a layer whose tar ends early, without an error of its reader.
type cut struct {
	v1.Layer
	after int64
}

func (c cut) Compressed() (io.ReadCloser, error) {
	r, err := c.Layer.Compressed()
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(r, c.after), r}, err
}

// failing is a layer whose reader fails before the end.
type failing struct{ v1.Layer }

var errDisk = errors.New("the disk is broken")

func (f failing) Compressed() (io.ReadCloser, error) {
	r, err := f.Layer.Compressed()
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r, 700), failingReader{}), r}, err
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errDisk }

// The error for a bad archive names the cause. The load leaves only complete layers below
// the bad one. When they are removed, no blocks are in use.
func TestLoadOfBadInput(t *testing.T) {
	two := knownTwo(t)
	escaping := func(entry imagetest.Entry) *known {
		k, err := madeOf("escaping", "escaping:1", base(), layer(dir("srv"), file("srv/page", 9000, 8), entry), layer(dir("x")))()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	climbing := escaping(file("../../outside", 10, 1))
	linking := escaping(link("srv/link", "../../outside"))
	for _, c := range []struct {
		name  string
		of    *known
		image v1.Image
		bad   int // the layer
		kind  error
		words []string
	}{
		{"cut within a file", two, spoiled{two.Image, 1, func(l v1.Layer) v1.Layer { return cut{l, 6000} }}, 1, nil, []string{"layer 2", two.DiffIDs()[1], "srv/page"}},
		{"cut between entries", two, spoiled{two.Image, 1, func(l v1.Layer) v1.Layer { return cut{l, 1024} }}, 1, nil, []string{"layer 2", two.DiffIDs()[1]}},
		{"empty", two, spoiled{two.Image, 1, func(l v1.Layer) v1.Layer { return cut{l, 0} }}, 1, nil, []string{"layer 2", two.DiffIDs()[1]}},
		{"unreadable", two, spoiled{two.Image, 1, func(l v1.Layer) v1.Layer { return failing{l} }}, 1, errDisk, []string{"layer 2", two.DiffIDs()[1]}},
		{"wrong diff id", two, damaged{two.Image, 1}, 1, images.ErrDigest, []string{"layer 2", two.DiffIDs()[0], two.DiffIDs()[1], "get the image again"}},
		{"wrong base", two, spoiled{two.Image, 0, func(v1.Layer) v1.Layer { return layersOf(t, two.Image)[1] }}, 0, images.ErrDigest, []string{"layer 1"}},
		{"escaping entry", climbing, climbing.Image, 1, nil, []string{"layer 2", climbing.DiffIDs()[1], "../../outside", "leads out of the root"}},
		{"escaping link", linking, linking.Image, 1, nil, []string{"layer 2", "srv/link", "leads out of the root"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newFixture(t)
			flat := knownFlat(t) // another image, and the template
			_, err := b.s.Load(b.ctx, flat.Image, images.LoadOptions{Names: names(t, flat.Names...)})
			b.check(err)
			before := b.state()
			_, err = b.s.Load(b.ctx, c.image, images.LoadOptions{Names: names(t, "bad:1")})
			if err == nil || c.kind != nil && !errors.Is(err, c.kind) {
				t.Fatalf("got %v, want %v", err, c.kind)
			}
			for _, word := range append(c.words, "load image bad:1") {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("got %v, want %q in it", err, word)
				}
			}
			b.onlyLayers(flat.ChainIDs, c.of.ChainIDs[:c.bad])
			b.extra = []*known{c.of}
			for _, f := range b.faults(true) {
				t.Error(f)
			}
			b.removeLayers(c.of.ChainIDs[:c.bad])
			if after := b.state(); after != before {
				t.Errorf("state: got\n%s, want\n%s", after, before)
			}
		})
	}
}

func layersOf(t *testing.T, image v1.Image) []v1.Layer {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	return layers
}

// knownLarge returns an image with three layers. The layer at the given index does not fit
// into a pool of a hundred blocks.
func knownLarge(t *testing.T, at int) *known {
	t.Helper()
	layers := []imagetest.Layer{base(), layer(dir("srv"), file("srv/a", 10, 1)), layer(dir("srv"), file("srv/b", 10, 2))}
	layers[at].Entries = append(layers[at].Entries, dir("large"))
	for i := range 200 {
		layers[at].Entries = append(layers[at].Entries, file(fmt.Sprintf("large/%d", i), 10, uint64(i)))
	}
	k, err := madeOf("large", "large:1", layers...)()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

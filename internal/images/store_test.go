package images_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/fault"
	"thinctl/internal/images"
	"thinctl/internal/images/archive"
	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/imagetest"
	"thinctl/internal/testkit/need"
	"thinctl/internal/testkit/snapshotstest"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// fixture is an in-memory pool with images.
type fixture struct {
	*testing.T
	ctx   context.Context
	world *snapshotstest.Fixture
	pool  *thinpool.Pool
	s     *images.Store
	// committed is the file tree of the committed container.
	committed imagetest.Tree
	commits   map[string]imagetest.Tree // of other committed layers, by their ids
	extra     []*known                  // besides allKnown
}

func small() thinpool.CreateOptions {
	return thinpool.CreateOptions{DataSize: 256 * units.MiB, MetadataSize: 4 * units.MiB, BaseSize: 64 * units.MiB, Reserve: &thinpool.Reserve{}}
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixtureOn(t, small())
}

func newFixtureOn(t *testing.T, o thinpool.CreateOptions) *fixture {
	t.Helper()
	need.Root(t) // for the owners in layers
	world := snapshotstest.New(t)
	pool, err := thinpool.Create(t.Context(), world.Host(), world.Root, "p", o)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{T: t, ctx: t.Context(), world: world, pool: pool, s: open(world, pool)}
}

func open(world *snapshotstest.Fixture, pool *thinpool.Pool) *images.Store {
	return images.New(layers.New(pool, world.Files, layers.Options{FS: filesystem.Ext4}), images.Options{})
}

func (b *fixture) check(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func names(t *testing.T, texts ...string) []reference.Reference {
	t.Helper()
	var all []reference.Reference
	for _, text := range texts {
		name, err := reference.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, name)
	}
	return all
}

// dockerArchive returns an archive of images as docker save writes it.
func dockerArchive(t *testing.T, built ...*imagetest.Built) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := imagetest.WriteDocker(&b, built...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func seeds(t *testing.T) (one, two *imagetest.Built) {
	t.Helper()
	a, b := imagetest.Seeds(imagetest.SeedOptions{Scale: 2000})
	var err error
	if one, err = imagetest.Build(a); err != nil {
		t.Fatal(err)
	}
	if two, err = imagetest.Build(b); err != nil {
		t.Fatal(err)
	}
	return one, two
}

// load loads all images of an archive.
func (b *fixture) load(s *images.Store, raw []byte) ([]images.Image, error) {
	file, err := archive.Read(b.ctx, bytes.NewReader(raw), archive.Options{TempDir: b.TempDir()})
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var all []images.Image
	for _, entry := range file.Images() {
		var refs []reference.Reference
		for _, name := range entry.Names {
			ref, err := reference.Parse(name)
			if err != nil {
				return nil, err
			}
			refs = append(refs, ref)
		}
		image, err := s.Load(b.ctx, entry.Image, images.LoadOptions{Names: refs})
		if err != nil {
			return nil, err
		}
		all = append(all, image)
	}
	return all, nil
}

// trees reads the file tree of an image from the pool.
func (b *fixture) tree(s *images.Store, image images.Image) imagetest.Tree {
	b.Helper()
	view, err := s.Layers().ViewLayer(b.ctx, image.Top())
	b.check(err)
	tree, err := imagetest.ReadTree(b.ctx, view.Root)
	b.check(err)
	b.check(view.Close())
	return tree
}

// whole fails if an image differs from the image that was built.
func (b *fixture) whole(s *images.Store, image images.Image, built *imagetest.Built) {
	b.Helper()
	want, err := built.Tree()
	b.check(err)
	for _, difference := range want.Diff(b.tree(s, image), 10) {
		b.Errorf("%s: %s", image, difference)
	}
}

// agrees fails if documents and volumes do not agree.
func (b *fixture) agrees(s *images.Store) {
	b.Helper()
	found, err := s.Check(b.ctx)
	b.check(err)
	for _, d := range found {
		b.Errorf("%s: %s", d.Object, d.Detail)
	}
	b.check(b.pool.Close(b.ctx)) // records which volumes were reaped
	report, err := b.pool.Check(b.ctx)
	b.check(err)
	for _, finding := range report.Findings {
		b.Errorf("pool check: %+v", finding)
	}
}

func TestLoadSharesLayers(t *testing.T) {
	b := newFixture(t)
	one, two := seeds(t)
	loaded, err := b.load(b.s, dockerArchive(t, one, two))
	b.check(err)
	if len(loaded) != 2 || loaded[0].ID != one.ID || loaded[1].ID != two.ID {
		t.Fatalf("got %+v, want the ids %s and %s", loaded, one.ID, two.ID)
	}
	layers, err := b.s.Layers().Layers(b.ctx)
	b.check(err)
	want := map[string]bool{}
	for _, id := range slices.Concat(one.ChainIDs, two.ChainIDs) {
		want[id] = true
	}
	got := map[string]bool{}
	var size units.Bytes
	for _, layer := range layers {
		got[layer.ID] = true
		if slices.Contains(one.ChainIDs, layer.ID) {
			size += layer.Size
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("layers: got %v, want %v", got, want)
	}
	if size != units.Bytes(one.Size()) {
		t.Errorf("layers of the first image: got %d bytes, want %d", size, one.Size())
	}
	b.whole(b.s, loaded[0], one)
	b.whole(b.s, loaded[1], two)
	b.agrees(b.s)

	// A second load changes nothing and fills no layer.
	again, err := b.load(b.s, dockerArchive(t, one))
	b.check(err)
	if again[0].Key != loaded[0].Key || !again[0].Loaded.Equal(loaded[0].Loaded) {
		t.Errorf("second load: got %+v, want %+v", again[0], loaded[0])
	}
}

// A loaded image is saved byte for byte: ids, digests and history are the same.
func TestSaveGivesWhatWasLoaded(t *testing.T) {
	b := newFixture(t)
	one, two := seeds(t)
	loaded, err := b.load(b.s, dockerArchive(t, one, two))
	b.check(err)
	for _, format := range []func(context.Context, io.Writer, []archive.Entry, archive.WriteOptions) error{archive.WriteDocker, archive.WriteOCI} {
		var saved bytes.Buffer
		var entries []archive.Entry
		for _, image := range loaded {
			opened, err := b.s.Open(b.ctx, image.Names[0].Familiar())
			b.check(err)
			defer opened.Close()
			entries = append(entries, archive.Entry{Names: []string{opened.Names[0].String()}, Image: opened.Image})
		}
		b.check(format(b.ctx, &saved, entries, archive.WriteOptions{}))
		other := newFixture(t)
		again, err := other.load(other.s, saved.Bytes())
		other.check(err)
		for i, built := range []*imagetest.Built{one, two} {
			if again[i].ID != built.ID || !slices.Equal(again[i].Layers, built.ChainIDs) || again[i].Names[0] != loaded[i].Names[0] {
				t.Errorf("got %+v, want %+v", again[i], loaded[i])
			}
			other.whole(other.s, again[i], built)
		}
	}
}

func TestCommitIsDigestedLater(t *testing.T) {
	b := newFixture(t)
	one, _ := seeds(t)
	loaded, err := b.load(b.s, dockerArchive(t, one))
	b.check(err)
	c, err := b.s.Layers().CreateContainer(b.ctx, layers.ContainerOptions{Name: "web", Image: loaded[0].Key, Layer: loaded[0].Top()})
	b.check(err)
	target, err := b.s.Layers().MountContainer(b.ctx, c.ID, layers.MountOptions{})
	b.check(err)
	b.check(imagetest.Mutate(target, 7, 20))
	committed, err := b.s.Commit(b.ctx, "web", images.CommitOptions{
		Names: names(t, "mine:1"), Author: "A. Nonymous", Message: "changed",
		Changes: []string{`CMD ["/bin/sh", "-c", "true"]`, "ENV A=b C=\"d e\"", "EXPOSE 80 443/udp", "USER 12:34", "VOLUME /data /more", "WORKDIR /srv", "LABEL x=y", "ENTRYPOINT run it"},
	})
	b.check(err)
	if committed.ID != "" || committed.Key != committed.Top() {
		t.Errorf("after the commit: got %+v, want no id", committed)
	}
	b.check(b.s.Layers().UnmountContainer(b.ctx, c.ID))
	digested, err := b.s.Digest(b.ctx, "mine:1")
	b.check(err)
	if digested.ID == "" || digested.Key != committed.Key {
		t.Errorf("after Digest: got %+v, want an id", digested)
	}
	again, err := b.s.Digest(b.ctx, digested.ID[:12])
	b.check(err)
	if again.ID != digested.ID {
		t.Errorf("second Digest: got %s, want %s", again.ID, digested.ID)
	}
	config, err := digested.Config()
	b.check(err)
	if len(config.RootFS.DiffIDs) != len(one.DiffIDs())+1 || config.Config.WorkingDir != "/srv" || config.Config.User != "12:34" ||
		!slices.Contains(config.Config.Env, "C=d e") || config.History[len(config.History)-1].Comment != "changed" || config.Author != "A. Nonymous" {
		t.Errorf("got config %+v", config)
	}
	// In another pool the image has the same file tree, except for the stubs that each
	// container has.
	opened, err := b.s.Open(b.ctx, "mine:1")
	b.check(err)
	var saved bytes.Buffer
	b.check(archive.WriteDocker(b.ctx, &saved, []archive.Entry{{Names: []string{"mine:1"}, Image: opened.Image}}, archive.WriteOptions{}))
	b.check(opened.Close())
	other := newFixture(t)
	elsewhere, err := other.load(other.s, saved.Bytes())
	other.check(err)
	if elsewhere[0].ID != digested.ID {
		t.Errorf("id in another pool: got %s, want %s", elsewhere[0].ID, digested.ID)
	}
	here, err := other.s.Layers().CreateContainer(b.ctx, layers.ContainerOptions{Name: "web", Image: elsewhere[0].Key, Layer: elsewhere[0].Top()})
	other.check(err)
	view, err := other.s.Layers().ViewContainer(b.ctx, here.ID)
	other.check(err)
	got, err := imagetest.ReadTree(b.ctx, view.Root)
	other.check(err)
	other.check(view.Close())
	want := b.tree(b.s, digested)
	for _, stub := range []string{".dockerenv", "dev", "dev/console", "dev/pts", "dev/shm", "etc", "etc/hosts", "etc/hostname", "etc/mtab", "etc/resolv.conf", "proc", "sys"} {
		delete(want, stub)
		delete(got, stub)
	}
	for _, difference := range want.Diff(got, 10) {
		t.Error(difference)
	}
	// Loaded again, it is the committed image.
	back, err := b.load(b.s, saved.Bytes())
	b.check(err)
	if back[0].Key != committed.Key || !slices.Equal(back[0].Layers, committed.Layers) {
		t.Errorf("loaded again: got %+v, want %+v", back[0], committed)
	}
	b.agrees(b.s)
}

func TestRemoveTakesUnneededLayers(t *testing.T) {
	b := newFixture(t)
	one, two := seeds(t)
	loaded, err := b.load(b.s, dockerArchive(t, one, two))
	b.check(err)
	status, err := b.pool.Status(b.ctx)
	b.check(err)
	before := status.Data.Used
	c, err := b.s.Layers().CreateContainer(b.ctx, layers.ContainerOptions{Name: "web", Image: loaded[1].Key, Layer: loaded[1].Top()})
	b.check(err)
	second := loaded[1].Names[0].Familiar()
	if _, err := b.s.Remove(b.ctx, []string{second}, images.RemoveOptions{}); !errors.Is(err, fault.Busy) || !strings.Contains(err.Error(), "web") {
		t.Errorf("remove an image with a container: got %v, want %v", err, fault.Busy)
	}
	_, err = b.s.Layers().RemoveContainer(b.ctx, c.ID, layers.RemoveOptions{})
	b.check(err)
	_, err = b.s.Tag(b.ctx, second, names(t, "other:2")[0])
	b.check(err)
	if _, err := b.s.Remove(b.ctx, []string{loaded[1].ID}, images.RemoveOptions{}); !errors.Is(err, fault.Busy) {
		t.Errorf("remove an image with two names by id: got %v, want %v", err, fault.Busy)
	}
	untagged, err := b.s.Remove(b.ctx, []string{"other:2"}, images.RemoveOptions{})
	b.check(err)
	if len(untagged.Untagged) != 1 || len(untagged.Images) != 0 || len(untagged.Layers) != 0 {
		t.Errorf("remove one of two names: got %+v", untagged)
	}
	planned, err := b.s.PlanRemoval(b.ctx, []string{second}, images.RemoveOptions{})
	b.check(err)
	removed, err := b.s.Remove(b.ctx, []string{second}, images.RemoveOptions{})
	b.check(err)
	own := len(two.ChainIDs) - 1 // the base is the first image's too
	if len(removed.Layers) != own || len(planned.Layers) != own || len(planned.Kept) != 1 {
		t.Errorf("got removed %+v, want as planned %+v", removed, planned)
	}
	b.check(b.pool.Close(b.ctx))
	after, err := b.pool.Status(b.ctx)
	b.check(err)
	// The volume with the container's stubs was removed, too. It did not exist before.
	if back := before - after.Data.Used; back > *planned.Freed {
		t.Errorf("freed: got %s, want %s as planned", back, planned.Freed)
	}
	b.whole(b.s, loaded[0], one)
	if _, err := b.s.Image(b.ctx, second); !errors.Is(err, reference.ErrNotFound) {
		t.Errorf("after the removal: got %v, want %v", err, reference.ErrNotFound)
	}
	b.agrees(b.s)
	again, err := b.load(b.s, dockerArchive(t, two))
	b.check(err)
	b.whole(b.s, again[0], two)
}

// damaged is an image with a wrong i-th layer.
type damaged struct {
	v1.Image
	at int
}

func (d damaged) Layers() ([]v1.Layer, error) {
	layers, err := d.Image.Layers()
	if err == nil {
		layers[d.at] = layers[0]
	}
	return layers, err
}

func TestLoadRefusesOtherContents(t *testing.T) {
	b := newFixture(t)
	one, _ := seeds(t)
	file, err := archive.Read(b.ctx, bytes.NewReader(dockerArchive(t, one)), archive.Options{TempDir: t.TempDir()})
	b.check(err)
	defer file.Close()
	image := file.Images()[0].Image
	_, err = b.s.Load(b.ctx, damaged{image, 2}, images.LoadOptions{Names: names(t, "x")})
	if !errors.Is(err, images.ErrDigest) || !strings.Contains(err.Error(), "layer 3") {
		t.Fatalf("%v", err)
	}
	layers, err := b.s.Layers().Layers(b.ctx)
	b.check(err)
	if len(layers) != 2 {
		t.Errorf("got %d layers, want the two below the wrong one", len(layers))
	}
	if _, err := b.s.Image(b.ctx, "x"); !errors.Is(err, reference.ErrNotFound) {
		t.Errorf("the image's name: got %v, want %v", err, reference.ErrNotFound)
	}
	b.agrees(b.s)
	var states []images.ProgressState
	_, err = b.s.Load(b.ctx, image, images.LoadOptions{Progress: func(p images.Progress) {
		if p.State != images.LayerApplying {
			states = append(states, p.State)
		}
	}})
	b.check(err)
	if want := []images.ProgressState{images.LayerExists, images.LayerExists, images.LayerDone}; len(states) != 7 || !slices.Equal(states[:3], want) {
		t.Errorf("next load: got states %v", states)
	}
}

func TestHistoryAndTree(t *testing.T) {
	b := newFixture(t)
	one, two := seeds(t)
	loaded, err := b.load(b.s, dockerArchive(t, one, two))
	b.check(err)
	steps, err := b.s.History(b.ctx, loaded[0].ID)
	b.check(err)
	if len(steps) != len(one.History) {
		t.Fatalf("got %d steps, want %d", len(steps), len(one.History))
	}
	var size units.Bytes
	for i, step := range steps {
		if step.By != one.History[len(steps)-1-i].CreatedBy {
			t.Errorf("step %d: got %q", i, step.By)
		}
		size += step.Size
	}
	if size != units.Bytes(one.Size()) || steps[0].Image != one.ID {
		t.Errorf("got %d bytes in all, the first step of image %s", size, steps[0].Image)
	}
	bases, err := b.s.Tree(b.ctx)
	b.check(err)
	if len(bases) != 1 || len(bases[0].Children) != 2 {
		t.Fatalf("tree: got %d base layers", len(bases))
	}
	summaries, err := b.s.Summaries(b.ctx, true)
	b.check(err)
	for _, summary := range summaries {
		plan, err := b.s.PlanRemoval(b.ctx, []string{summary.ID}, images.RemoveOptions{})
		b.check(err)
		if *plan.Freed != summary.Exclusive || summary.Exclusive == 0 {
			t.Errorf("%s: got %s exclusive, want %s as in the plan", summary, summary.Exclusive, plan.Freed)
		}
	}
}

func TestImport(t *testing.T) {
	b := newFixture(t)
	one, _ := seeds(t)
	tar := new(bytes.Buffer)
	b.check(one.Contents[1].WriteTar(tar))
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	image, err := b.s.Import(b.ctx, bytes.NewReader(tar.Bytes()), images.ImportOptions{Names: names(t, "flat"), Created: at, Changes: []string{"CMD x"}})
	b.check(err)
	opened, err := b.s.Open(b.ctx, "flat")
	b.check(err)
	layers, err := opened.Image.Layers()
	b.check(err)
	r, err := layers[0].Uncompressed()
	b.check(err)
	got, err := io.ReadAll(r)
	b.check(err)
	b.check(opened.Close())
	if !bytes.Equal(got, tar.Bytes()) || image.ID == "" {
		t.Errorf("tar: got %d bytes, want %d", len(got), tar.Len())
	}
	// A second import of the same tar is the same image, and leaves no second layer.
	same, err := b.s.Import(b.ctx, bytes.NewReader(tar.Bytes()), images.ImportOptions{Created: at, Changes: []string{"CMD x"}})
	b.check(err)
	all, err := b.s.Layers().Layers(b.ctx)
	b.check(err)
	if same.ID != image.ID || len(all) != 1 {
		t.Errorf("second import: got %+v, %d layers", same, len(all))
	}
	b.agrees(b.s)
}

func TestBadChanges(t *testing.T) {
	b := newFixture(t)
	for _, change := range []string{"", "RUN x", "FROM scratch", "ENV", "ENV =x", "EXPOSE x", "EXPOSE 70000", "COPY a b", "WORKDIR", "ONBUILD FROM x", "VOLUME []", "USER", "CMD a\nUSER b"} {
		if _, err := b.s.Import(b.ctx, strings.NewReader("x"), images.ImportOptions{Changes: []string{change}}); !errors.Is(err, fault.Invalid) {
			t.Errorf("change %q: got %v, want %v", change, err, fault.Invalid)
		}
	}
}

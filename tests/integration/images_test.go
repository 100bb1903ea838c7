//go:build kernel

package integration

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"thinctl/internal/changes"
	"thinctl/internal/images"
	"thinctl/internal/images/archive"
	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/imagetest"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// Images are loaded, live as thin volumes on real file systems, and are saved as the same
// bytes. When they are removed, all their space is freed.
func TestImages(t *testing.T) {
	for _, fs := range []filesystem.Type{filesystem.Ext4, filesystem.XFS} {
		t.Run(string(fs), func(t *testing.T) {
			pool, s := newStore(t, fs)
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
			defer cancel()
			liveAndDie(ctx, t, pool, s)
		})
	}
}

// newStore makes a pool of 2 GiB and a store of images in it.
func newStore(t *testing.T, fs filesystem.Type) (*thinpool.Pool, *images.Store) {
	t.Helper()
	pool := newPool(t, thinpool.CreateOptions{DataSize: 2 * units.GiB, MetadataSize: 16 * units.MiB, BaseSize: units.GiB})
	return pool, images.New(layers.New(pool, filesystem.Local{}, layers.Options{FS: fs}), images.Options{})
}

func liveAndDie(ctx context.Context, t *testing.T, pool *thinpool.Pool, s *images.Store) {
	one, _ := imagetest.Seeds(imagetest.SeedOptions{Scale: 256})
	var built []*imagetest.Built
	for _, image := range []imagetest.Image{one, imagetest.Special()} {
		b, err := imagetest.Build(image)
		if err != nil {
			t.Fatal(err)
		}
		built = append(built, b)
	}
	empty := used(ctx, t, pool)
	loaded := loadAll(ctx, t, s, built)
	for i, image := range loaded {
		view, err := s.Layers().ViewLayer(ctx, image.Top())
		if err != nil {
			t.Fatal(err)
		}
		same(ctx, t, built[i], view.Root)
		if err := view.Close(); err != nil {
			t.Fatal(err)
		}
	}
	c, err := s.Layers().CreateContainer(ctx,
		layers.ContainerOptions{Name: "web", Image: loaded[0].Key, Layer: loaded[0].Top()})
	if err != nil {
		t.Fatal(err)
	}
	target, err := s.Layers().MountContainer(ctx, c.ID, layers.MountOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := imagetest.Mutate(target, 3, 50); err != nil {
		t.Fatal(err)
	}
	before := used(ctx, t, pool)
	began := time.Now()
	committed, err := s.Commit(ctx, "web", images.CommitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("commit took %s and %s of data", time.Since(began).Round(time.Millisecond), used(ctx, t, pool)-before)
	changed := differences(t,
		func(visit func(changes.Change) error) error { return s.Layers().ContainerChanges(ctx, "web", visit) })
	layer := differences(t, func(visit func(changes.Change) error) error {
		return s.Layers().LayerChanges(ctx, "", committed.Top(), visit)
	})
	if len(changed) < 20 || !slices.Equal(changed, layer) {
		t.Errorf("differences: got %d of the container, %d of its layer", len(changed), len(layer))
	}
	saved := saveAll(ctx, t, s, loaded, committed)
	if _, err := s.Layers().RemoveContainer(ctx, "web", layers.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, image := range append(loaded, committed) {
		plan, err := s.PlanRemoval(ctx, []string{image.Key}, images.RemoveOptions{Force: true})
		if err != nil {
			t.Fatal(err)
		}
		before := used(ctx, t, pool)
		if _, err := s.Remove(ctx, []string{image.Key}, images.RemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		if back := before - used(ctx, t, pool); back != *plan.Freed {
			t.Errorf("%s: freed space: got %s, want %s", image, back, plan.Freed)
		}
	}
	// Only the template that the layers began as is left.
	if left := used(ctx, t, pool) - empty; left > 4*units.MiB {
		t.Errorf("used space at the end: got %s", left)
	}
	agree(ctx, t, pool, s)

	again, err := archive.Read(ctx, bytes.NewReader(saved), archive.Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for i, entry := range again.Images() {
		image, err := s.Load(ctx, entry.Image, images.LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if i < len(loaded) && image.ID != loaded[i].ID {
			t.Errorf("saved and loaded: got id %s, want %s", loaded[i].ID, image.ID)
		}
	}
	agree(ctx, t, pool, s)
}

func loadAll(ctx context.Context, t *testing.T, s *images.Store, built []*imagetest.Built) []images.Image {
	t.Helper()
	var raw bytes.Buffer
	if err := imagetest.WriteDocker(&raw, built...); err != nil {
		t.Fatal(err)
	}
	file, err := archive.Read(ctx, &raw, archive.Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var loaded []images.Image
	for i, entry := range file.Images() {
		name, err := reference.Parse(entry.Names[0])
		if err != nil {
			t.Fatal(err)
		}
		image, err := s.Load(ctx, entry.Image, images.LoadOptions{Names: []reference.Reference{name}})
		if err != nil {
			t.Fatal(err)
		}
		if image.ID != built[i].ID {
			t.Errorf("%s has the id %s, want %s", image, image.ID, built[i].ID)
		}
		loaded = append(loaded, image)
	}
	return loaded
}

func saveAll(ctx context.Context, t *testing.T, s *images.Store, loaded []images.Image, committed images.Image) []byte {
	t.Helper()
	var entries []archive.Entry
	for _, image := range append(slices.Clone(loaded), committed) {
		opened, err := s.Open(ctx, image.Key)
		if err != nil {
			t.Fatal(err)
		}
		defer opened.Close()
		entries = append(entries, archive.Entry{Image: opened.Image})
	}
	var saved bytes.Buffer
	if err := archive.WriteDocker(ctx, &saved, entries, archive.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return saved.Bytes()
}

func same(ctx context.Context, t *testing.T, built *imagetest.Built, root string) {
	t.Helper()
	want, err := built.Tree()
	if err != nil {
		t.Fatal(err)
	}
	got, err := imagetest.ReadTree(ctx, root)
	if err != nil {
		t.Fatal(err)
	}
	for _, difference := range want.Diff(got, 10) {
		t.Error(difference)
	}
}

func differences(t *testing.T, walk func(func(changes.Change) error) error) []string {
	t.Helper()
	var lines []string
	if err := walk(func(c changes.Change) error { lines = append(lines, c.String()); return nil }); err != nil {
		t.Fatal(err)
	}
	return lines
}

// used returns the pool's used space once nothing is to be reaped.
func used(ctx context.Context, t *testing.T, pool *thinpool.Pool) units.Bytes {
	t.Helper()
	if _, _, err := pool.Reap(ctx); err != nil {
		t.Fatal(err)
	}
	usage, err := pool.Usage(ctx, thinpool.UsageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return usage.Used
}

func agree(ctx context.Context, t *testing.T, pool *thinpool.Pool, s *images.Store) {
	t.Helper()
	found, err := s.Check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range found {
		t.Errorf("%s: %s", d.Object, d.Detail)
	}
	report, err := pool.Check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range report.Findings {
		t.Errorf("pool check: %+v", finding)
	}
}

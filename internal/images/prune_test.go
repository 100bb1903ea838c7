package images_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"thinctl/fault"
	"thinctl/internal/images"
	"thinctl/internal/images/archive"
	"thinctl/internal/layers"
)

// The layers of a failed load are used by the next one, and can be removed. The layers of
// an image cannot.
func TestLooseLayers(t *testing.T) {
	b := newFixture(t)
	one, two := seeds(t)
	_, err := b.load(b.s, dockerArchive(t, one))
	b.check(err)
	file, err := archive.Read(b.ctx, bytes.NewReader(dockerArchive(t, two)), archive.Options{TempDir: t.TempDir()})
	b.check(err)
	defer file.Close()
	second := file.Images()[0].Image
	if _, err := b.s.Load(b.ctx, damaged{second, 2}, images.LoadOptions{}); !errors.Is(err, images.ErrDigest) {
		t.Fatal(err)
	}
	ids, have, err := b.s.Have(b.ctx, second)
	b.check(err)
	if len(ids) != len(two.ChainIDs) || have != 2 || ids[1] != two.ChainIDs[1] {
		t.Errorf("Have: got %d of %v, want 2 of %v", have, ids, two.ChainIDs)
	}

	// Its base belongs to the first image, and its second layer to none.
	if _, err := b.s.RemoveLayers(b.ctx, ids[:2]); !errors.Is(err, fault.Busy) {
		t.Errorf("remove a layer of an image: got %v, want %v", err, fault.Busy)
	}
	planned, err := b.s.PlanPrune(b.ctx, images.PruneOptions{})
	b.check(err)
	removed, err := b.s.Prune(b.ctx, images.PruneOptions{})
	b.check(err)
	if len(planned.Layers) != 1 || len(removed.Layers) != 1 || removed.Layers[0] != ids[1] || *planned.Freed == 0 {
		t.Errorf("got %+v, want as planned %+v", removed, planned)
	}
	b.agrees(b.s)
}

// Prune removes images without names and containers, together with their layers.
func TestPruneImages(t *testing.T) {
	b := newFixture(t)
	one, two := seeds(t)
	one.Names, two.Names = nil, nil
	loaded, err := b.load(b.s, dockerArchive(t, one, two))
	b.check(err)
	c, err := b.s.CreateContainer(b.ctx, loaded[0].ID, layers.ContainerOptions{Name: "web"})
	b.check(err)
	if c.Image != loaded[0].Key || c.Layer != loaded[0].Top() {
		t.Errorf("container: got %+v, want image %s and layer %s", c, loaded[0].Key, loaded[0].Top())
	}
	removed, err := b.s.Prune(b.ctx, images.PruneOptions{Images: true})
	b.check(err)
	if len(removed.Images) != 1 || removed.Images[0].Key != loaded[1].Key || len(removed.Layers) != len(two.ChainIDs)-1 {
		t.Errorf("got removed %+v, want the image %s and %d layers", removed, loaded[1].Key, len(two.ChainIDs)-1)
	}
	b.whole(b.s, loaded[0], one)
	b.agrees(b.s)
}

// Layers without a common origin are compared as unrelated trees.
func TestLayerChangesOfUnrelatedLayers(t *testing.T) {
	b := newFixture(t)
	one, two := seeds(t)
	loaded, err := b.load(b.s, dockerArchive(t, one, two))
	b.check(err)
	var there, back bytes.Buffer
	b.check(b.s.WriteLayerChanges(b.ctx, loaded[0].Top(), loaded[1].Top(), &there))
	b.check(b.s.WriteLayerChanges(b.ctx, loaded[1].Top(), loaded[0].Top(), &back))
	for name, tar := range map[string]*bytes.Buffer{"usr/share/two-1": &there, "usr/share/.wh.one-1": &there, "usr/share/one-1": &back} {
		if !bytes.Contains(tar.Bytes(), []byte(name)) {
			t.Errorf("%s is missing in the tar", name)
		}
	}
	if err := b.s.WriteLayerChanges(b.ctx, "ffff", loaded[0].Top(), io.Discard); !errors.Is(err, fault.NotFound) {
		t.Errorf("a missing layer: got %v, want %v", err, fault.NotFound)
	}
}

package images_test

import (
	"os"
	"strings"
	"testing"

	"thinctl/internal/images"
	"thinctl/internal/layers"
	"thinctl/thinpool"
)

// Each disagreement is found, and names its object.
func TestCheckFinds(t *testing.T) {
	b := newFixture(t)
	one, _ := seeds(t)
	loaded, err := b.load(b.s, dockerArchive(t, one))
	b.check(err)
	c, err := b.s.Layers().CreateContainer(b.ctx, layers.ContainerOptions{Name: "web", Image: loaded[0].Key, Layer: loaded[0].Top()})
	b.check(err)
	b.agrees(b.s)
	for _, test := range []struct {
		what, names string
		damage      func(*thinpool.Tx) error
	}{
		{"no image", "name docker.io/thinctl/one", func(tx *thinpool.Tx) error { return tx.Delete("images", loaded[0].Key) }},
		{"no image", "container web", func(tx *thinpool.Tx) error { return nil }},
		{"no layer", "image " + loaded[0].ID, func(tx *thinpool.Tx) error {
			return joined(tx.Put("images", loaded[0].Key, loaded[0]), tx.Delete("layers", one.ChainIDs[2]))
		}},
		{"no container", "name web", func(tx *thinpool.Tx) error { return tx.Delete("containers", c.ID) }},
		{"an id of none", "id 00", func(tx *thinpool.Tx) error { return tx.Put("image-ids", "00", "11") }},
	} {
		b.check(b.pool.Update(b.ctx, test.damage))
		b.finds(test.what, test.names)
	}
	b.check(b.pool.Update(b.ctx, func(tx *thinpool.Tx) error { _, err := images.RepairIn(tx); return err }))
	b.agrees(b.s)
	if _, err := b.load(b.s, dockerArchive(t, one)); err != nil {
		t.Errorf("load it again after the repair: got %v, want nil", err)
	}
	b.agrees(b.s)
	b.check(os.Remove(b.pool.LayersDir() + "/" + one.ChainIDs[1] + ".split.gz"))
	b.finds("no split", "layer "+one.ChainIDs[1])
}

func joined(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *fixture) finds(what, names string) {
	b.Helper()
	found, err := b.s.Check(b.ctx)
	b.check(err)
	for _, d := range found {
		if strings.HasPrefix(d.Object, names) {
			return
		}
	}
	b.Errorf("%s: got %+v, want one with %q", what, found, names)
}

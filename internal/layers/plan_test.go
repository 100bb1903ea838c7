package layers_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"thinctl/fault"
	"thinctl/internal/layers"
	"thinctl/thinpool"
	"thinctl/units"
)

// planFixture returns a fixture with the chains a-b-c, a-b-d and e, and a container "web" on d.
func planFixture(t *testing.T) *fixture {
	f := newFixture(t)
	check(t, load(f.ctx, f.s, "a", "b", "c"))
	check(t, load(f.ctx, f.s, "a", "b", "d"))
	check(t, load(f.ctx, f.s, "e"))
	f.create("web", id("d"))
	return f
}

func imageNeeds(words ...string) func(*thinpool.Tx) (map[string]string, error) {
	return func(*thinpool.Tx) (map[string]string, error) {
		needed := map[string]string{}
		for _, word := range words {
			needed[id(word)] = "image " + word
		}
		return needed, nil
	}
}

func TestPlanRemoval(t *testing.T) {
	f := planFixture(t)
	for _, c := range []struct {
		name   string
		layers string
		images []string
		held   string
		remove string
		inits  string
		kept   map[string]string
	}{
		{name: "a leaf", layers: "c", remove: "c"},
		{name: "a single layer", layers: "e", remove: "e"},
		{name: "needed by an image", layers: "c", images: []string{"c"}, kept: map[string]string{"c": "image c"}},
		{name: "child first", layers: "e a c", images: nil, remove: "c e", kept: map[string]string{"a": "layer " + id("b")[:12]}},
		{name: "a container on it", layers: "d", kept: map[string]string{"d": "container web"}},
		{name: "a child needed keeps its parents", layers: "a b c d", remove: "c",
			kept: map[string]string{"d": "container web", "b": "layer " + id("d")[:12], "a": "layer " + id("b")[:12]}},
		{name: "two children", layers: "b", kept: map[string]string{"b": "layers " + id("c")[:12] + ", " + id("d")[:12]}},
		{name: "held", layers: "c e", held: "e", remove: "c", kept: map[string]string{"e": "in progress"}},
		{name: "the same layer twice", layers: "c c", remove: "c"},
		{name: "nothing", layers: ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.held != "" {
				chain, err := f.s.BeginChain(f.ctx, layers.ChainOptions{Layers: ids(c.held)})
				check(t, err)
				defer chain.Close()
			}
			asked := ids(strings.Fields(c.layers)...)
			plan, err := f.s.PlanRemoval(
				f.ctx,
				asked,
				layers.RemovalOptions{Needed: imageNeeds(c.images...), Measure: true},
			)
			check(t, err)
			if !slices.Equal(plan.Layers, ids(strings.Fields(c.remove)...)) || len(plan.Kept) != len(c.kept) {
				t.Errorf("got plan %+v, want layers %q removed and %v kept", plan, c.remove, c.kept)
			}
			for word, reason := range c.kept {
				if !strings.Contains(plan.Kept[id(word)], reason) {
					t.Errorf("layer %s: got kept by %q, want %q", word, plan.Kept[id(word)], reason)
				}
			}
			if (*plan.Freed > 0) != (len(plan.Layers) > 0) {
				t.Errorf("got %s to be freed by removing %d layers, want 0 if and only if there are none", plan.Freed,
					len(plan.Layers))
			}
			if len(c.kept) == 0 {
				return
			}
			_, err = f.s.RemoveLayers(f.ctx, asked, layers.RemovalOptions{Needed: imageNeeds(c.images...)})
			for _, reason := range c.kept {
				wantError(t, err, fault.Busy, reason)
			}
		})
	}
	_, err := f.s.PlanRemoval(f.ctx, ids("z"), layers.RemovalOptions{})
	wantError(t, err, fault.NotFound)
	check(t, f.verify())
}

func TestRemoveLayers(t *testing.T) {
	f := planFixture(t)
	_, err := f.s.RemoveContainer(f.ctx, "web", layers.RemoveOptions{})
	check(t, err)
	all := ids("a", "b", "c", "d", "e")
	plan, err := f.s.PlanRemoval(f.ctx, all, layers.RemovalOptions{Measure: true})
	check(t, err)
	if len(plan.Layers) != 5 || !slices.Equal(plan.Inits, ids("d")) {
		t.Errorf("got plan %+v, want 5 found and the init of d", plan)
	}
	before, err := f.pool.Status(f.ctx)
	check(t, err)
	with := 0
	refusal := errors.New("the image has been removed")
	_, err = f.s.RemoveLayers(f.ctx, all, layers.RemovalOptions{With: func(*thinpool.Tx) error { return refusal }})
	wantError(t, err, refusal)
	view, err := f.s.ViewLayer(f.ctx, id("e"))
	check(t, err)
	_, err = f.s.RemoveLayers(f.ctx, all, layers.RemovalOptions{})
	wantError(t, err, fault.Busy, "open")
	check(t, view.Close())
	removed, err := f.s.RemoveLayers(
		f.ctx,
		all,
		layers.RemovalOptions{With: func(*thinpool.Tx) error { with++; return nil }},
	)
	check(t, err)
	if !slices.Equal(removed.Layers, plan.Layers) || removed.Waiting || with == 0 {
		t.Errorf("got %+v and %d calls of With, want found %q and at least 1", removed, with, plan.Layers)
	}
	after, err := f.pool.Status(f.ctx)
	check(t, err)
	if freed := before.Data.Used - after.Data.Used; freed != *plan.Freed {
		t.Errorf("got %s freed, want the planned %s", freed, plan.Freed)
	}
	found, err := f.s.Layers(f.ctx)
	check(t, err)
	inits, err := f.s.Inits(f.ctx)
	check(t, err)
	if len(found) != 0 || len(inits) != 0 {
		t.Errorf("got %d found and %d inits left, want none", len(found), len(inits))
	}
	check(t, f.verify())
}

func TestRemoveUnused(t *testing.T) {
	f := planFixture(t)
	dropped := false
	o := layers.RemovalOptions{Unused: true, With: func(*thinpool.Tx) error { dropped = true; return nil }}
	removed, err := f.s.RemoveLayers(f.ctx, ids("a", "b", "d", "z"), o)
	check(t, err)
	if len(removed.Layers) != 0 || !dropped {
		t.Errorf("got %+v, With called: %t; want no layer removed, With called", removed, dropped)
	}
	removed, err = f.s.RemoveLayers(f.ctx, ids("a", "b", "c", "z"), o)
	check(t, err)
	if !slices.Equal(removed.Layers, ids("c")) {
		t.Errorf("got %+v, want layer c removed", removed)
	}
	check(t, f.verify())
}

func TestSizes(t *testing.T) {
	f := planFixture(t)
	l, err := f.s.CommitContainer(f.ctx, "web", layers.CommitOptions{})
	check(t, err)
	sizes, err := f.s.Sizes(f.ctx, layers.SizesOptions{})
	check(t, err)
	if len(sizes.Layers) != 6 || len(sizes.Containers) != 1 || len(sizes.Inits) != 1 {
		t.Errorf("got %+v, want the sizes of 6 layers, 1 container and 1 init", sizes)
	}
	// Each layer writes two files and the file system's first block.
	for _, word := range []string{"a", "b", "c", "d", "e"} {
		if size := sizes.Layers[id(word)]; size.Own != 3*64*units.KiB || size.Mapped < size.Own ||
			size.Exclusive > size.Own {
			t.Errorf("layer %s: got %+v, want 3 blocks of its own", word, size)
		}
	}
	if own := sizes.Layers[l.ID].Own; own != 0 {
		t.Errorf("layer without a change: got %s of its own, want 0", own)
	}
	if u := sizes.Usage; u.Used != u.Exclusive+u.Shared || u.Used == 0 {
		t.Errorf("usage: got %+v, want used to be exclusive and shared", u)
	}
}

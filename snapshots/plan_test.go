package snapshots_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"thinctl/fault"
	"thinctl/snapshots"
	"thinctl/thinpool"
	"thinctl/units"
)

// A tree: a - b - c, b - d, and e alone; web stands on d, an image needs c.
func planStage(t *testing.T) *stage {
	st := newStage(t)
	check(t, load(st.ctx, st.s, "a", "b", "c"))
	check(t, load(st.ctx, st.s, "a", "b", "d"))
	check(t, load(st.ctx, st.s, "e"))
	st.create("web", id("d"))
	return st
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
	st := planStage(t)
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
		{name: "alone", layers: "e", remove: "e"},
		{name: "needed by an image", layers: "c", images: []string{"c"}, kept: map[string]string{"c": "image c"}},
		{name: "child first", layers: "e a c", images: nil, remove: "c e", kept: map[string]string{"a": "layer " + id("b")[:12]}},
		{name: "a container on it", layers: "d", kept: map[string]string{"d": "container web"}},
		{name: "a child needed keeps its parents", layers: "a b c d", remove: "c",
			kept: map[string]string{"d": "container web", "b": "layer " + id("d")[:12], "a": "layer " + id("b")[:12]}},
		{name: "two children", layers: "b", kept: map[string]string{"b": "layers " + id("c")[:12] + ", " + id("d")[:12]}},
		{name: "held", layers: "c e", held: "e", remove: "c", kept: map[string]string{"e": "in progress"}},
		{name: "twice the same", layers: "c c", remove: "c"},
		{name: "nothing", layers: ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.held != "" {
				chain, err := st.s.BeginChain(st.ctx, snapshots.ChainOptions{Layers: ids(c.held)})
				check(t, err)
				defer chain.Close()
			}
			asked := ids(strings.Fields(c.layers)...)
			plan, err := st.s.PlanRemoval(
				st.ctx,
				asked,
				snapshots.RemovalOptions{Needed: imageNeeds(c.images...), Measure: true},
			)
			check(t, err)
			if !slices.Equal(plan.Layers, ids(strings.Fields(c.remove)...)) || len(plan.Kept) != len(c.kept) {
				t.Errorf("%+v", plan)
			}
			for word, who := range c.kept {
				if !strings.Contains(plan.Kept[id(word)], who) {
					t.Errorf("%s is kept by %q, want %q", word, plan.Kept[id(word)], who)
				}
			}
			if (*plan.Freed > 0) != (len(plan.Layers) > 0) {
				t.Errorf("%s come back", plan.Freed)
			}
			if len(c.kept) == 0 {
				return
			}
			_, err = st.s.RemoveLayers(st.ctx, asked, snapshots.RemovalOptions{Needed: imageNeeds(c.images...)})
			for _, who := range c.kept {
				says(t, err, fault.Busy, who)
			}
		})
	}
	_, err := st.s.PlanRemoval(st.ctx, ids("z"), snapshots.RemovalOptions{})
	says(t, err, fault.NotFound)
	check(t, st.agree())
}

func TestRemoveLayers(t *testing.T) {
	st := planStage(t)
	_, err := st.s.RemoveContainer(st.ctx, "web", snapshots.RemoveOptions{})
	check(t, err)
	all := ids("a", "b", "c", "d", "e")
	plan, err := st.s.PlanRemoval(st.ctx, all, snapshots.RemovalOptions{Measure: true})
	check(t, err)
	if len(plan.Layers) != 5 || !slices.Equal(plan.Inits, ids("d")) {
		t.Errorf("%+v", plan)
	}
	before, err := st.pool.Status(st.ctx)
	check(t, err)
	with := 0
	refusal := errors.New("the image has gone")
	_, err = st.s.RemoveLayers(st.ctx, all, snapshots.RemovalOptions{With: func(*thinpool.Tx) error { return refusal }})
	says(t, err, refusal)
	view, err := st.s.ViewLayer(st.ctx, id("e"))
	check(t, err)
	_, err = st.s.RemoveLayers(st.ctx, all, snapshots.RemovalOptions{})
	says(t, err, fault.Busy, "open")
	check(t, view.Close())
	removed, err := st.s.RemoveLayers(
		st.ctx,
		all,
		snapshots.RemovalOptions{With: func(*thinpool.Tx) error { with++; return nil }},
	)
	check(t, err)
	if !slices.Equal(removed.Layers, plan.Layers) || removed.Waiting || with == 0 {
		t.Errorf("%+v, with %d", removed, with)
	}
	after, err := st.pool.Status(st.ctx)
	check(t, err)
	if back := before.Data.Used - after.Data.Used; back != *plan.Freed {
		t.Errorf("%s came back, %s were planned", back, plan.Freed)
	}
	layers, err := st.s.Layers(st.ctx)
	check(t, err)
	inits, err := st.s.Inits(st.ctx)
	check(t, err)
	if len(layers) != 0 || len(inits) != 0 {
		t.Errorf("%d layers and %d inits are left", len(layers), len(inits))
	}
	check(t, st.agree())
}

func TestRemoveUnused(t *testing.T) {
	st := planStage(t)
	dropped := false
	o := snapshots.RemovalOptions{Unused: true, With: func(*thinpool.Tx) error { dropped = true; return nil }}
	removed, err := st.s.RemoveLayers(st.ctx, ids("a", "b", "d", "z"), o)
	check(t, err)
	if len(removed.Layers) != 0 || !dropped {
		t.Errorf("%+v, with %v", removed, dropped)
	}
	removed, err = st.s.RemoveLayers(st.ctx, ids("a", "b", "c", "z"), o)
	check(t, err)
	if !slices.Equal(removed.Layers, ids("c")) {
		t.Errorf("%+v", removed)
	}
	check(t, st.agree())
}

func TestSizes(t *testing.T) {
	st := planStage(t)
	l, err := st.s.CommitContainer(st.ctx, "web", snapshots.CommitOptions{})
	check(t, err)
	sizes, err := st.s.Sizes(st.ctx, snapshots.SizesOptions{})
	check(t, err)
	if len(sizes.Layers) != 6 || len(sizes.Containers) != 1 || len(sizes.Inits) != 1 {
		t.Errorf("%+v", sizes)
	}
	// Each layer writes two files and the file system's first block.
	for _, word := range []string{"a", "b", "c", "d", "e"} {
		if size := sizes.Layers[id(word)]; size.Own != 3*64*units.KiB || size.Mapped < size.Own ||
			size.Exclusive > size.Own {
			t.Errorf("layer %s: %+v", word, size)
		}
	}
	if own := sizes.Layers[l.ID].Own; own != 0 {
		t.Errorf("what was committed without a change has %s of its own", own)
	}
	if u := sizes.Usage; u.Used != u.Exclusive+u.Shared || u.Used == 0 {
		t.Errorf("%+v", u)
	}
}

package snapshots_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"thinctl/fault"
	"thinctl/snapshots"
)

func TestChain(t *testing.T) {
	st := newStage(t)
	check(t, load(st.ctx, st.s, "a", "b", "c"))
	formats, mounts := st.Files.Counts()
	if formats != 1 || mounts != 2 {
		t.Errorf("%d formats and %d mounts; want one template, and one mount for all layers", formats, mounts)
	}
	check(t, errors.Join(st.wholeLayer("a"), st.wholeLayer("a", "b"), st.wholeLayer("a", "b", "c"), st.agree()))
	layers, err := st.s.Layers(st.ctx)
	check(t, err)
	for i, l := range layers {
		parent := ""
		if i > 0 {
			parent = layers[i-1].ID
		}
		if l.Parent != parent || l.Size != 42 || l.Entries != 2 || l.FS != "ext4" || l.Volume == 0 ||
			l.DiffID != "sha256:"+l.ID ||
			l.ChainID != l.ID {
			t.Errorf("%+v", l)
		}
	}
	// Another chain shares the first two, and needs no template.
	check(t, load(st.ctx, st.s, "a", "b", "d"))
	if formats, _ := st.Files.Counts(); formats != 1 {
		t.Errorf("%d formats", formats)
	}
	check(t, errors.Join(st.wholeLayer("a", "b", "d"), st.agree()))
	// All of it is there: nothing is mounted.
	_, before := st.Files.Counts()
	check(t, load(st.ctx, st.s, "a", "b", "d"))
	if _, after := st.Files.Counts(); after != before {
		t.Error("a load of what is there mounts something")
	}
}

func TestChainWithoutLast(t *testing.T) {
	st := newStage(t)
	chain, err := st.s.BeginChain(st.ctx, snapshots.ChainOptions{Layers: ids("a")})
	check(t, err)
	_, err = chain.Add(st.ctx, snapshots.LayerSpec{ID: id("a")}, fill("a"))
	check(t, err)
	check(t, chain.Finish(st.ctx, nil))
	check(t, chain.Close())
	check(t, errors.Join(st.wholeLayer("a"), st.agree()))
}

func TestChainThatFails(t *testing.T) {
	st := newStage(t)
	broken := errors.New("the archive is broken")
	chain, err := st.s.BeginChain(st.ctx, snapshots.ChainOptions{Layers: ids("a", "b")})
	check(t, err)
	_, err = chain.Add(st.ctx, snapshots.LayerSpec{ID: id("a")}, fill("a"))
	check(t, err)
	_, err = chain.Add(
		st.ctx,
		snapshots.LayerSpec{ID: id("b"), Last: true},
		func(root string) (snapshots.Filled, error) {
			check(t, os.WriteFile(filepath.Join(root, "half"), nil, 0o600))
			return snapshots.Filled{}, broken
		},
	)
	says(t, err, broken, "add layer "+id("b")[:12])
	says(t, chain.Finish(st.ctx, nil), fault.Invalid)
	// The same layer again, on what is whole.
	_, err = chain.Add(st.ctx, snapshots.LayerSpec{ID: id("b"), Last: true}, fill("b"))
	check(t, err)
	check(t, chain.Close())
	check(t, errors.Join(st.wholeLayer("a", "b"), st.agree()))
}

func TestChainRefuses(t *testing.T) {
	st := newStage(t)
	for _, bad := range [][]string{{"short"}, {id("a"), id("a")}, {""}} {
		_, err := st.s.BeginChain(st.ctx, snapshots.ChainOptions{Layers: bad})
		says(t, err, fault.Invalid)
	}
	check(t, load(st.ctx, st.s, "a", "b"))
	_, err := st.s.BeginChain(st.ctx, snapshots.ChainOptions{Layers: ids("b", "c")})
	says(t, err, fault.Invalid, "parent")
	chain, err := st.s.BeginChain(st.ctx, snapshots.ChainOptions{Layers: ids("a", "b", "c")})
	check(t, err)
	_, err = chain.Add(st.ctx, snapshots.LayerSpec{ID: id("a")}, fill("a"))
	says(t, err, fault.Invalid, "next")
	check(t, chain.Close())
	check(t, st.agree())
}

// A layer that another process makes meanwhile is taken, and the working volume
// begins again from it.
func TestChainTakesAnothersLayer(t *testing.T) {
	st := newStage(t)
	other, err := st.Open(st.ctx, poolName, snapshots.Options{})
	check(t, err)
	chain, err := st.s.BeginChain(st.ctx, snapshots.ChainOptions{Layers: ids("a", "b", "c")})
	check(t, err)
	defer chain.Close()
	_, err = chain.Add(st.ctx, snapshots.LayerSpec{ID: id("a")}, fill("a"))
	check(t, err)
	check(t, load(st.ctx, other, "a", "b"))
	never := func(string) (snapshots.Filled, error) {
		t.Error("filled")
		return snapshots.Filled{}, nil
	}
	b, err := chain.Add(st.ctx, snapshots.LayerSpec{ID: id("b")}, never)
	check(t, err)
	if b.Size != 42 {
		t.Errorf("%+v", b)
	}
	_, err = chain.Add(st.ctx, snapshots.LayerSpec{ID: id("c"), Last: true}, fill("c"))
	check(t, err)
	check(t, chain.Finish(st.ctx, nil))
	check(t, errors.Join(st.wholeLayer("a", "b", "c"), st.agree()))
}

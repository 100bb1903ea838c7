package layers_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"thinctl/fault"
	"thinctl/internal/layers"
)

func TestChain(t *testing.T) {
	f := newFixture(t)
	check(t, load(f.ctx, f.s, "a", "b", "c"))
	formats, mounts := f.Files.Counts()
	if formats != 1 || mounts != 2 {
		t.Errorf("got %d formats and %d mounts, want 1 (the template) and 2 (the template and the chain)", formats, mounts)
	}
	check(t, errors.Join(f.checkLayer("a"), f.checkLayer("a", "b"), f.checkLayer("a", "b", "c"), f.verify()))
	all, err := f.s.Layers(f.ctx)
	check(t, err)
	for i, l := range all {
		parent := ""
		if i > 0 {
			parent = all[i-1].ID
		}
		if l.Parent != parent || l.Size != 42 || l.Entries != 2 || l.FS != "ext4" || l.Volume == 0 ||
			l.DiffID != "sha256:"+l.ID ||
			l.ChainID != l.ID {
			t.Errorf("got layer %+v, want parent %q, 42 bytes, 2 entries, ext4 and the digests of its id", l, parent)
		}
	}
	// Another chain shares the first two layers and needs no new template.
	check(t, load(f.ctx, f.s, "a", "b", "d"))
	if formats, _ := f.Files.Counts(); formats != 1 {
		t.Errorf("got %d formats, want 1", formats)
	}
	check(t, errors.Join(f.checkLayer("a", "b", "d"), f.verify()))
	// A chain that exists is loaded without a mount.
	_, before := f.Files.Counts()
	check(t, load(f.ctx, f.s, "a", "b", "d"))
	if _, after := f.Files.Counts(); after != before {
		t.Errorf("got %d mounts to load a chain that exists, want 0", after-before)
	}
}

// A chain may finish without a layer that is marked as the last.
func TestChainWithoutLast(t *testing.T) {
	f := newFixture(t)
	chain, err := f.s.BeginChain(f.ctx, layers.ChainOptions{Layers: ids("a")})
	check(t, err)
	_, err = chain.Add(f.ctx, layers.LayerSpec{ID: id("a")}, fill("a"))
	check(t, err)
	check(t, chain.Finish(f.ctx, nil))
	check(t, chain.Close())
	check(t, errors.Join(f.checkLayer("a"), f.verify()))
}

// A layer that fails leaves the layers below it, and can be added again.
func TestChainThatFails(t *testing.T) {
	f := newFixture(t)
	broken := errors.New("the archive is broken")
	chain, err := f.s.BeginChain(f.ctx, layers.ChainOptions{Layers: ids("a", "b")})
	check(t, err)
	_, err = chain.Add(f.ctx, layers.LayerSpec{ID: id("a")}, fill("a"))
	check(t, err)
	_, err = chain.Add(
		f.ctx,
		layers.LayerSpec{ID: id("b"), Last: true},
		func(root string) (layers.Filled, error) {
			check(t, os.WriteFile(filepath.Join(root, "half"), nil, 0o600))
			return layers.Filled{}, broken
		},
	)
	wantError(t, err, broken, "add layer "+id("b")[:12])
	wantError(t, chain.Finish(f.ctx, nil), fault.Invalid)
	// The same layer can be added again on its intact parent.
	_, err = chain.Add(f.ctx, layers.LayerSpec{ID: id("b"), Last: true}, fill("b"))
	check(t, err)
	check(t, chain.Close())
	check(t, errors.Join(f.checkLayer("a", "b"), f.verify()))
}

func TestChainRejects(t *testing.T) {
	f := newFixture(t)
	for _, bad := range [][]string{{"short"}, {id("a"), id("a")}, {""}} {
		_, err := f.s.BeginChain(f.ctx, layers.ChainOptions{Layers: bad})
		wantError(t, err, fault.Invalid)
	}
	check(t, load(f.ctx, f.s, "a", "b"))
	_, err := f.s.BeginChain(f.ctx, layers.ChainOptions{Layers: ids("b", "c")})
	wantError(t, err, fault.Invalid, "parent")
	chain, err := f.s.BeginChain(f.ctx, layers.ChainOptions{Layers: ids("a", "b", "c")})
	check(t, err)
	_, err = chain.Add(f.ctx, layers.LayerSpec{ID: id("a")}, fill("a"))
	wantError(t, err, fault.Invalid, "next")
	check(t, chain.Close())
	check(t, f.verify())
}

// A chain uses a layer that another process makes concurrently, and makes its working volume again from it.
func TestChainUsesLayerOfAnotherProcess(t *testing.T) {
	f := newFixture(t)
	other, err := f.Open(f.ctx, poolName, layers.Options{})
	check(t, err)
	chain, err := f.s.BeginChain(f.ctx, layers.ChainOptions{Layers: ids("a", "b", "c")})
	check(t, err)
	defer chain.Close()
	_, err = chain.Add(f.ctx, layers.LayerSpec{ID: id("a")}, fill("a"))
	check(t, err)
	check(t, load(f.ctx, other, "a", "b"))
	never := func(string) (layers.Filled, error) {
		t.Error("a layer that exists is filled again")
		return layers.Filled{}, nil
	}
	b, err := chain.Add(f.ctx, layers.LayerSpec{ID: id("b")}, never)
	check(t, err)
	if b.Size != 42 {
		t.Errorf("got layer %+v, want the other process's layer of 42 bytes", b)
	}
	_, err = chain.Add(f.ctx, layers.LayerSpec{ID: id("c"), Last: true}, fill("c"))
	check(t, err)
	check(t, chain.Finish(f.ctx, nil))
	check(t, errors.Join(f.checkLayer("a", "b", "c"), f.verify()))
}

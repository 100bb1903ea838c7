//go:build kernel

package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"thinctl/internal/changes"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/treetest"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// TestBlockDelta changes containers at random, and compares them and their commits with what they began as. The walk of
// the paths that the blocks give finds the same changes as the walk of both trees. Some containers are larger than their
// image: their file system grows while it is mounted.
func TestBlockDelta(t *testing.T) {
	pool := newPool(t, thinpool.CreateOptions{DataSize: units.GiB, MetadataSize: 8 * units.MiB, BaseSize: 512 * units.MiB})
	f := &fixture{t: t, ctx: testContext(t), pool: pool, s: layers.New(pool, filesystem.Local{}, layers.Options{})}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	chain, err := f.s.BeginChain(f.ctx, layers.ChainOptions{Layers: []string{layerID(1)}})
	f.must(err)
	defer chain.Close()
	_, err = chain.Add(f.ctx, layers.LayerSpec{ID: layerID(1), Last: true}, func(root string) (layers.Filled, error) {
		for d := range 100 {
			dir := filepath.Join(root, fmt.Sprintf("unchanged-%d", d))
			if err := os.Mkdir(dir, 0o755); err != nil {
				return layers.Filled{}, err
			}
			for n := range 20 {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), []byte("text"), 0o644); err != nil {
					return layers.Filled{}, err
				}
			}
		}
		f.fill(random, filepath.Join(root, "random"), 200)
		return layers.Filled{}, nil
	})
	f.must(err)
	f.must(chain.Finish(f.ctx, nil))
	for round := range 4 {
		size := []units.Bytes{0, units.GiB}[round%2]
		c, err := f.s.CreateContainer(f.ctx, layers.ContainerOptions{Layer: layerID(1), Size: size})
		f.must(err)
		root, err := f.s.MountContainer(f.ctx, c.ID, layers.MountOptions{})
		f.must(err)
		f.fill(random, filepath.Join(root, "random"), 20)
		commit, err := f.s.CommitContainer(f.ctx, c.ID, layers.CommitOptions{})
		f.must(err)
		f.compareByBlocks(commit.Below(), commit.Tree())
		f.fill(random, filepath.Join(root, "random"), 20)
		f.must(f.s.UnmountContainer(f.ctx, c.ID))
		f.compareByBlocks(c.Below(), c.Tree())
	}
}

// fill makes random changes below a directory.
func (f *fixture) fill(random *rand.Rand, root string, n int) {
	f.t.Helper()
	f.must(os.MkdirAll(root, 0o755))
	g := &treetest.Generator{T: f.t, Random: random, Root: root}
	for i := range n {
		if i%2 == 0 {
			g.Create()
		} else {
			g.Change()
		}
	}
}

// compareByBlocks compares the walk that the blocks limit with the walk of both trees. On a machine that is too slow, the
// delta of the blocks is given up: then it tries again.
func (f *fixture) compareByBlocks(lower, upper snapshots.Tree) {
	f.t.Helper()
	const tries = 20
	for range tries {
		compared := false
		f.must(f.s.WithTrees(f.ctx, lower, upper, true, func(trees snapshots.Trees) error {
			compared = f.compareWalks(trees)
			return nil
		}))
		if compared {
			return
		}
	}
	f.t.Fatalf("got no paths for %s from the blocks", upper.Volume)
}

// compareWalks reports whether the blocks gave paths, and compares the walks if they did.
func (f *fixture) compareWalks(trees snapshots.Trees) bool {
	f.t.Helper()
	for _, exact := range []bool{false, true} {
		limited := trees.Options(exact)
		if limited.Only == nil {
			return false
		}
		whole := limited
		whole.Only = nil
		began := time.Now()
		got := walkAll(f.ctx, f.t, trees, limited)
		byBlocks := time.Since(began)
		want := walkAll(f.ctx, f.t, trees, whole)
		f.t.Logf("%d changes in %s, by a walk of all in %s", len(got), byBlocks.Round(time.Millisecond/10),
			(time.Since(began) - byBlocks).Round(time.Millisecond/10))
		if len(want) == 0 || !slices.Equal(got, want) {
			f.t.Errorf("exact %v: got %d changes\n%q\nwant %d\n%q", exact, len(got), got, len(want), want)
		}
	}
	return true
}

func walkAll(ctx context.Context, t *testing.T, trees snapshots.Trees, o changes.Options) (lines []string) {
	t.Helper()
	err := changes.Walk(ctx, trees.Lower, trees.Upper, o, func(c changes.Change) error {
		lines = append(lines, c.String())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

package layers_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"thinctl/fault"
	"thinctl/internal/layers"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// Sixteen workers in two processes load and remove chains that overlap, and make, commit and remove containers
// concurrently. Each result must hold, and in the end documents, volumes and trees match.
func TestConcurrentProcesses(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithTimeout(f.ctx, 10*time.Minute)
	defer cancel()
	other, err := f.Open(ctx, poolName, layers.Options{})
	check(t, err)
	stores := []*layers.Store{f.s, other}
	const each = 12
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			w := &worker{s: stores[i%2], name: fmt.Sprintf("m%d", i), random: rand.New(rand.NewPCG(uint64(i), 4))}
			for n := range each {
				if err := w.step(ctx, n); err != nil {
					t.Errorf("worker %s, step %d: %v", w.name, n, err)
					return
				}
			}
		})
	}
	all.Wait()
	check(t, f.s.Recover(ctx))
	check(t, other.Pool().Close(ctx))
	check(t, errors.Join(f.checkLayers(), f.verify()))
	check(t, f.removeAll())
}

// worker carries out random operations on a store.
type worker struct {
	s      *layers.Store
	name   string
	random *rand.Rand
}

func (w *worker) step(ctx context.Context, n int) error {
	chains := [][]string{{"a", "b", "c"}, {"a", "b", "d"}, {"a"}, {"a", "b"}}
	words := chains[w.random.IntN(len(chains))]
	switch w.random.IntN(4) {
	case 0:
		_, err := w.s.RemoveLayers(ctx, ids(words...), layers.RemovalOptions{Unused: true})
		if errors.Is(err, fault.Busy) {
			return nil // another worker uses a layer
		}
		return err
	case 1:
		err := load(ctx, w.s, words...)
		if err != nil {
			return err
		}
		return w.readLayer(ctx, words)
	}
	return w.runContainer(ctx, words, n)
}

func (w *worker) readLayer(ctx context.Context, words []string) error {
	view, err := w.s.ViewLayer(ctx, id(words[len(words)-1]))
	if errors.Is(err, fault.NotFound) {
		return nil // another worker has removed it
	}
	if err != nil {
		return err
	}
	return errors.Join(checkTree(view.Root, words...), view.Close())
}

// runContainer keeps a lease on an image's layers, as a load does, until a container uses them. It then commits and
// removes the container.
func (w *worker) runContainer(ctx context.Context, words []string, n int) error {
	chain, err := w.s.BeginChain(ctx, layers.ChainOptions{Layers: ids(words...)})
	if err != nil {
		return err
	}
	defer chain.Close()
	for i := chain.Have(); i < len(words); i++ {
		if _, err := chain.Add(
			ctx,
			layers.LayerSpec{ID: id(words[i]), Last: i == len(words)-1},
			fill(words[i]),
		); err != nil {
			return err
		}
	}
	name := fmt.Sprintf("%s-%d", w.name, n)
	if _, err := w.s.CreateContainer(
		ctx,
		layers.ContainerOptions{Name: name, Layer: id(words[len(words)-1])},
	); err != nil {
		return err
	}
	if err := chain.Finish(ctx, func(*thinpool.Tx) error { return nil }); err != nil {
		return err
	}
	root, err := w.s.MountContainer(ctx, name, layers.MountOptions{})
	if err != nil {
		return err
	}
	layer, err := w.s.CommitContainer(ctx, name, layers.CommitOptions{})
	if err != nil {
		return err
	}
	if _, err := w.s.Layer(ctx, layer.ID); err != nil {
		return fmt.Errorf("committed at %s: %w", root, err)
	}
	if _, err := w.s.RemoveContainer(ctx, name, layers.RemoveOptions{}); err != nil {
		return err
	}
	_, err = w.s.RemoveLayers(ctx, []string{layer.ID}, layers.RemovalOptions{})
	return err
}

// Recovery in one process leaves alone what another running process uses.
func TestRecoverKeepsWhatIsInUse(t *testing.T) {
	f := newFixture(t)
	other, err := f.Open(f.ctx, poolName, layers.Options{})
	check(t, err)
	chain, err := f.s.BeginChain(f.ctx, layers.ChainOptions{Layers: ids("a", "b")})
	check(t, err)
	_, err = chain.Add(f.ctx, layers.LayerSpec{ID: id("a")}, fill("a"))
	check(t, err)
	view, err := other.ViewLayer(f.ctx, id("a"))
	check(t, err)
	_, err = chain.Add(
		f.ctx,
		layers.LayerSpec{ID: id("b"), Last: true},
		func(root string) (layers.Filled, error) {
			check(t, other.Recover(f.ctx))
			check(t, load(f.ctx, other, "e"))
			_, err := other.RemoveLayers(f.ctx, ids("a"), layers.RemovalOptions{})
			wantError(t, err, fault.Busy, "in progress")
			return fill("b")(root)
		},
	)
	check(t, err)
	check(t, checkTree(view.Root, "a"))
	check(t, view.Close())
	check(t, chain.Close())
	check(t, errors.Join(f.checkLayer("a", "b"), f.verify()))
}

// Concurrent loads of the same layers fill each layer once.
func TestConcurrentLoadsFillOnce(t *testing.T) {
	f := newFixture(t)
	var mu sync.Mutex
	filled := map[string]int{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			chain, err := f.s.BeginChain(f.ctx, layers.ChainOptions{Layers: ids("a", "b")})
			if err != nil {
				t.Error(err)
				return
			}
			defer chain.Close()
			for i, word := range []string{"a", "b"}[chain.Have():] {
				last := i+chain.Have() == 1
				_, err := chain.Add(
					f.ctx,
					layers.LayerSpec{ID: id(word), Last: last},
					func(root string) (layers.Filled, error) {
						mu.Lock()
						filled[word]++
						mu.Unlock()
						return fill(word)(root)
					},
				)
				if err != nil {
					t.Error(err)
					return
				}
			}
			if err := chain.Finish(f.ctx, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if filled["a"] != 1 || filled["b"] != 1 {
		t.Errorf("got fills %v, want one of a and one of b", filled)
	}
	if formats, _ := f.Files.Counts(); formats != 1 {
		t.Errorf("got %d formats, want 1", formats)
	}
	check(t, errors.Join(f.checkLayer("a", "b"), f.verify()))
}

// A mount namespace that is made during a load keeps the working volume mounted. The load still succeeds.
func TestWorkingVolumeMountedElsewhere(t *testing.T) {
	f := newFixture(t)
	var leave []func()
	hold := func() {
		volumes, err := f.pool.Volumes(f.ctx)
		check(t, err)
		for _, v := range volumes {
			if v.For == "work" {
				gone, err := f.Files.MountElsewhere(v.Dev, filesystem.Holder{Namespace: 2})
				check(t, err)
				leave = append(leave, gone)
			}
		}
	}
	chain, err := f.s.BeginChain(f.ctx, layers.ChainOptions{Layers: ids("a", "b")})
	check(t, err)
	for _, word := range []string{"a", "b"} {
		_, err = chain.Add(
			f.ctx,
			layers.LayerSpec{ID: id(word), Last: word == "b"},
			func(root string) (layers.Filled, error) {
				hold()
				return fill(word)(root)
			},
		)
		check(t, err)
	}
	check(t, chain.Finish(f.ctx, nil))
	check(t, f.checkLayer("a", "b"))
	if _, waiting, err := f.pool.Reap(f.ctx); len(waiting) != 1 || err != nil {
		t.Errorf("got %d volumes to be deleted later, error %v, want 1", len(waiting), err)
	}
	for _, gone := range leave {
		gone()
	}
	check(t, f.verify())
}

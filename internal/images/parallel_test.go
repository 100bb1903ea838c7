package images_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"thinctl/fault"
	"thinctl/internal/images"
	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/imagetest"
	"thinctl/thinpool"
)

const (
	workers  = 16
	workTime = 3 * time.Second
)

// Sixteen goroutines, as in two processes, concurrently load, read, tag, commit and remove
// images that share layers. In the end documents, volumes and splits agree, each image is
// complete, and unneeded layers occupy no blocks.
func TestConcurrentUse(t *testing.T) {
	b := newFixture(t)
	// The template stays; it belongs to no image.
	_, err := b.s.Load(b.ctx, knownFlat(t).Image, images.LoadOptions{Names: names(t, "flat:1")})
	b.check(err)
	_, err = b.s.Remove(b.ctx, []string{"flat:1"}, images.RemoveOptions{})
	b.check(err)
	before := b.used()

	other, err := thinpool.Open(b.ctx, b.world.Host(), b.world.Root, "p")
	b.check(err)
	stores := []*images.Store{b.s, open(b.world, other)}
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Minute)
	defer cancel()
	c := &shared{fixture: b, until: time.Now().Add(workTime), acts: map[string]int{}, trees: map[string]imagetest.Tree{}}
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			w := &worker{shared: c, s: stores[i%2], container: fmt.Sprintf("web-%d", i), random: rand.New(rand.NewPCG(uint64(i), 9))}
			for n := 0; time.Now().Before(c.until); n++ {
				if err := w.step(ctx, n); err != nil {
					t.Errorf("worker %d, act %d: %v", i, n, err)
					return
				}
			}
		})
	}
	all.Wait()
	t.Logf("%v", c.acts)
	b.check(b.s.Recover(b.ctx))
	b.check(other.Close(b.ctx))
	b.commits = c.trees
	for _, f := range b.faults(true) {
		t.Error(f)
	}
	b.removeAll()
	for _, f := range b.faults(false) {
		t.Errorf("after all was removed: %v", f)
	}
	if after := b.used(); after != before {
		t.Errorf("used after all was removed: got %s, want %s", after, before)
	}
}

// removeAll removes all containers and images, and the layers that could not be removed
// with them because they were being read.
func (b *fixture) removeAll() {
	b.Helper()
	containers, err := b.s.Layers().Containers(b.ctx)
	b.check(err)
	for _, c := range containers {
		_, err := b.s.Layers().RemoveContainer(b.ctx, c.ID, layers.RemoveOptions{})
		b.check(err)
	}
	all, err := b.s.Images(b.ctx)
	b.check(err)
	for _, image := range all {
		_, err := b.s.Remove(b.ctx, []string{image.Key}, images.RemoveOptions{Force: true})
		b.check(err)
	}
	found, err := b.s.Layers().Layers(b.ctx)
	b.check(err)
	var left []string
	for _, l := range found {
		left = append(left, l.ID)
	}
	if len(left) > 0 {
		b.Logf("%d found were left by removals and loads that met", len(left))
		_, err = b.s.Layers().RemoveLayers(b.ctx, left, layers.RemovalOptions{Needed: images.Needed})
		b.check(err)
		b.check(b.s.Recover(b.ctx)) // their splits
	}
}

// shared is the state of all workers.
type shared struct {
	*fixture
	until time.Time

	mu    sync.Mutex
	acts  map[string]int
	trees map[string]imagetest.Tree // of committed layers
}

func (c *shared) did(act string, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
	// Another goroutine has removed it, or uses it, since it was chosen.
	case errors.Is(err, reference.ErrNotFound), errors.Is(err, fault.Busy):
		act += ", too late"
	default:
		return fmt.Errorf("%s: %w", act, err)
	}
	c.acts[act]++
	return nil
}

type worker struct {
	*shared
	s         *images.Store
	container string
	random    *rand.Rand
}

func pick[T any](w *worker, of []T) T { return of[w.random.IntN(len(of))] }

func (w *worker) name() reference.Reference {
	return names(w.T, fmt.Sprintf("app:%d", w.random.IntN(6)))[0]
}

func (w *worker) step(ctx context.Context, n int) error {
	switch act := w.random.IntN(22); {
	case act < 7:
		k := pick(w, allKnown(w.T))
		loaded, err := w.s.Load(ctx, k.Image, images.LoadOptions{Names: []reference.Reference{w.name()}})
		if err == nil && loaded.ID != k.ID {
			err = fmt.Errorf("got id %s, want %s", loaded.ID, k.ID)
		}
		return w.did("load", err)
	case act < 10:
		_, err := w.s.Tag(ctx, w.name().Familiar(), w.name())
		return w.did("tag", err)
	case act < 15:
		_, err := w.s.Remove(ctx, []string{w.name().Familiar()}, images.RemoveOptions{})
		return w.did("remove", err)
	case act < 17:
		return w.did("read", w.read(ctx))
	case act < 18:
		_, err := w.s.Summaries(ctx, true)
		return w.did("list", err)
	case act < 19:
		_, err := w.s.History(ctx, w.name().Familiar())
		return w.did("history", err)
	}
	return w.did("commit", w.commit(ctx, n))
}

// read reads an image as saving it does.
func (w *worker) read(ctx context.Context) error {
	opened, err := w.s.Open(ctx, w.name().Familiar())
	if err != nil {
		return err
	}
	return errors.Join(w.sameBytes(opened.Record, opened.Image), opened.Close())
}

// commit creates a container from an image, changes it, and commits it.
func (w *worker) commit(ctx context.Context, n int) error {
	image, err := w.s.Image(ctx, w.name().Familiar())
	if err != nil {
		return err
	}
	store := w.s.Layers()
	c, err := store.CreateContainer(ctx, layers.ContainerOptions{Name: w.container, Image: image.Key, Layer: image.Top(),
		With: func(tx *thinpool.Tx, _ layers.Container) error {
			return tx.Get("images", image.Key, &images.Image{})
		}})
	if errors.Is(err, fault.NotFound) {
		return errors.Join(reference.ErrNotFound, err)
	}
	if err != nil {
		return err
	}
	target, err := store.MountContainer(ctx, c.ID, layers.MountOptions{})
	if err != nil {
		return err
	}
	err = errors.Join(os.WriteFile(filepath.Join(target, fmt.Sprintf("%s-%d", w.container, n)), []byte(time.Now().String()), 0o600),
		os.RemoveAll(filepath.Join(target, "bin", "ls")))
	if err != nil {
		return err
	}
	tree, err := imagetest.ReadTree(ctx, target)
	if err != nil {
		return err
	}
	committed, err := w.s.Commit(ctx, c.ID, images.CommitOptions{Names: []reference.Reference{w.name()}, Message: fmt.Sprint(n)})
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.trees[committed.Top()] = tree
	w.mu.Unlock()
	_, err = store.RemoveContainer(ctx, c.ID, layers.RemoveOptions{})
	return err
}

// When the last two names of an image are removed concurrently, the later removal removes
// the layers.
func TestLastNamesRemovedAtOnce(t *testing.T) {
	b := newFixture(t)
	other, err := thinpool.Open(b.ctx, b.world.Host(), b.world.Root, "p")
	b.check(err)
	stores := []*images.Store{b.s, open(b.world, other)}
	one := knownOne(t)
	for range 10 {
		_, err := b.s.Load(b.ctx, one.Image, images.LoadOptions{Names: names(t, "a:1", "b:1")})
		b.check(err)
		var all sync.WaitGroup
		faults := make([]error, 2)
		removed := make([]images.Removal, 2)
		for i, name := range []string{"a:1", "b:1"} {
			all.Go(func() { removed[i], faults[i] = stores[i].Remove(b.ctx, []string{name}, images.RemoveOptions{}) })
		}
		all.Wait()
		b.check(errors.Join(faults...))
		if gone := len(removed[0].Layers) + len(removed[1].Layers); gone != len(one.ChainIDs) {
			t.Fatalf("got %d found removed: %+v", gone, removed)
		}
		found, err := b.s.Layers().Layers(b.ctx)
		b.check(err)
		if len(found) != 0 {
			t.Fatalf("got %d found afterwards, want none", len(found))
		}
	}
	b.check(other.Close(b.ctx))
	b.agrees(b.s)
}

// Concurrent loads of one image create each of its layers once, and all succeed.
func TestManyLoadOneImage(t *testing.T) {
	b := newFixture(t)
	one, two := knownOne(t), knownTwo(t)
	var mu sync.Mutex
	made := map[string]int{}
	var all sync.WaitGroup
	for i := range workers {
		k := []*known{one, two}[i%2]
		all.Go(func() {
			loaded, err := b.s.Load(b.ctx, k.Image, images.LoadOptions{Names: names(t, fmt.Sprintf("n:%d", i)), Progress: func(p images.Progress) {
				mu.Lock()
				defer mu.Unlock()
				if p.State == images.LayerDone {
					made[p.ID]++
				}
			}})
			if err != nil || loaded.ID != k.ID {
				t.Errorf("load: got %v, %v", loaded, err)
			}
		})
	}
	all.Wait()
	want := slices.Concat(one.ChainIDs, two.ChainIDs[1:])
	if got := slices.Sorted(maps.Keys(made)); len(got) != len(want) {
		t.Errorf("created layers: got %v, want %v", got, want)
	}
	for id, times := range made {
		if times != 1 {
			t.Errorf("layer %s: got it created %d times, want once", id, times)
		}
	}
	for _, f := range b.faults(false) {
		t.Error(f)
	}
}

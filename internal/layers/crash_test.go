package layers_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"thinctl/fault"
	"thinctl/internal/changes"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/snapshotstest"
	"thinctl/thinpool"
	"thinctl/units"
)

// operation is a test case: a process is stopped at each step of run.
type operation struct {
	name    string
	prepare func(f *fixture)
	run     func(ctx context.Context, s *layers.Store, acked func(layer string)) error
	// done reports whether the operation is done. It is an error if the operation is neither done nor undone.
	done func(f *fixture) (bool, error)
	// volatile marks an operation whose effect is in the kernel only: a power cut undoes it.
	volatile bool
	// left are the layers that must exist in any case.
	left []string
}

// A process that is stopped at any step of an operation leaves it done or undone, after a restart and after a power
// cut. Acknowledged layers are intact, nothing is leaked, and the operation can be carried out again.
func TestStoppedAtEveryStep(t *testing.T) {
	for _, o := range operations() {
		snapshotstest.StopAtEveryStep(t, o.name, func(t *testing.T) snapshotstest.Crash {
			f := newFixture(t)
			o.prepare(f)
			check(t, f.pool.Close(f.ctx))
			victim, err := f.Open(f.ctx, poolName, layers.Options{})
			check(t, err)
			acked := slices.Clone(o.left)
			return snapshotstest.Crash{
				Fixture: f.Fixture,
				Run: func() error {
					return o.run(f.ctx, victim, func(layer string) { acked = append(acked, layer) })
				},
				Volatile: o.volatile,
				Recover: func() error {
					f.reopen()
					return errors.Join(f.pool.Activate(f.ctx), f.s.Recover(f.ctx))
				},
				Verify:    f.verify,
				Done:      func() (bool, error) { return o.done(f) },
				Contents:  func() error { return f.checkLayers(acked...) },
				Again:     func() error { return o.run(f.ctx, f.s, func(string) {}) },
				RemoveAll: f.removeAll,
			}
		})
	}
}

// layerWords returns the chains of the layers that the tests make, by the last word.
func layerWords() map[string][]string {
	return map[string][]string{"a": {"a"}, "b": {"a", "b"}, "c": {"a", "b", "c"}, "d": {"a", "b", "d"}}
}

// checkLayers checks the tree of every loaded layer that exists. The acknowledged layers must exist.
func (f *fixture) checkLayers(acked ...string) error {
	found, err := f.s.Layers(f.ctx)
	if err != nil {
		return err
	}
	var faults []error
	for word, words := range layerWords() {
		exists := slices.ContainsFunc(found, func(l layers.Layer) bool { return l.ID == id(word) })
		if exists || slices.Contains(acked, word) {
			faults = append(faults, f.checkLayer(words...))
		}
	}
	return errors.Join(faults...)
}

// removeAll removes all containers and layers. Only the blocks of the template may be left.
func (f *fixture) removeAll() error {
	containers, err := f.s.Containers(f.ctx)
	if err != nil {
		return err
	}
	for _, c := range containers {
		if _, err := f.s.RemoveContainer(f.ctx, c.ID, layers.RemoveOptions{}); err != nil {
			return err
		}
	}
	found, err := f.s.Layers(f.ctx)
	if err != nil {
		return err
	}
	var all []string
	for _, l := range found {
		all = append(all, l.ID)
	}
	if _, err := f.s.RemoveLayers(f.ctx, all, layers.RemovalOptions{}); err != nil {
		return err
	}
	if err := f.verify(); err != nil {
		return err
	}
	return snapshotstest.VerifyEmpty(f.ctx, f.pool, "template-ext4-16777216")
}

const kindTestImages = thinpool.DocumentKind("images")

func operations() []operation {
	nothing := func(*fixture) {}
	loaded := func(words ...string) func(*fixture) {
		return func(f *fixture) { check(f.t, load(f.ctx, f.s, words...)) }
	}
	container := func(mounted bool) func(*fixture) {
		return func(f *fixture) {
			loaded("a", "b")(f)
			web := f.create("web", id("b"))
			f.write(web, "x", "y")
			check(f.t, f.Files.Sync(f.ctx, filepath.Join(f.pool.MountsDir(), web.ID)))
			if !mounted {
				check(f.t, f.s.UnmountContainer(f.ctx, "web"))
			}
		}
	}
	commit := func(ctx context.Context, s *layers.Store, _ func(string)) error {
		_, err := s.CommitContainer(
			ctx,
			"web",
			layers.CommitOptions{With: func(tx *thinpool.Tx, l layers.Layer) error {
				return tx.Put(kindTestImages, "committed", l.ID)
			}},
		)
		return err
	}
	create := func(name string) func(context.Context, *layers.Store, func(string)) error {
		return func(ctx context.Context, s *layers.Store, _ func(string)) error {
			_, err := s.CreateContainer(ctx, layers.ContainerOptions{Name: name, Layer: id("b")})
			return err
		}
	}
	return []operation{
		{name: "load", prepare: nothing, run: loadImage("a", "b", "c"), done: imageExists("c")},
		{
			name:    "load that shares layers",
			prepare: loaded("a", "b", "c"),
			run:     loadImage("a", "b", "d"),
			done:    imageExists("d"),
			left:    []string{"a", "b", "c"},
		},
		{
			name:    "create a container",
			prepare: loaded("a", "b"),
			run:     create("web"),
			done:    containerExists("web"),
			left:    []string{"a", "b"},
		},
		{
			name:    "create another container",
			prepare: container(false),
			run:     create("db"),
			done:    containerExists("db"),
			left:    []string{"a", "b"},
		},
		{name: "commit mounted", prepare: container(true), run: commit, done: committed, left: []string{"a", "b"}},
		{name: "commit unmounted", prepare: container(false), run: commit, done: committed, left: []string{"a", "b"}},
		{name: "mount and grow", left: []string{"a", "b"},
			prepare: func(f *fixture) {
				loaded("a", "b")(f)
				_, err := f.s.CreateContainer(
					f.ctx,
					layers.ContainerOptions{Name: "web", Layer: id("b"), Size: 32 * units.MiB},
				)
				check(f.t, err)
			},
			run: func(ctx context.Context, s *layers.Store, _ func(string)) error {
				_, err := s.MountContainer(ctx, "web", layers.MountOptions{})
				return err
			},
			volatile: true, done: func(f *fixture) (bool, error) {
				c, err := f.s.Container(f.ctx, "web")
				return len(f.Files.Targets()) == 1 && c.FileSystem == 0, err
			}},
		{name: "unmount", prepare: container(true), left: []string{"a", "b"},
			run: func(ctx context.Context, s *layers.Store, _ func(string)) error {
				err := s.UnmountContainer(ctx, "web")
				if errors.Is(err, layers.ErrNotMounted) {
					return nil
				}
				return err
			},
			volatile: true, done: func(f *fixture) (bool, error) { return len(f.Files.Targets()) == 0, nil }},
		{name: "view", prepare: loaded("a", "b"), left: []string{"a", "b"},
			run: func(ctx context.Context, s *layers.Store, _ func(string)) error {
				view, err := s.ViewLayer(ctx, id("b"))
				if err != nil {
					return err
				}
				return errors.Join(checkTree(view.Root, "a", "b"), view.Close())
			},
			done: func(*fixture) (bool, error) { return true, nil }},
		{name: "compare a mounted container", prepare: container(true), left: []string{"a", "b"},
			run: func(ctx context.Context, s *layers.Store, _ func(string)) error {
				got, err := containerChanges(ctx, s, "web")
				if err == nil && !slices.Equal(got, []string{"A /x"}) {
					err = fmt.Errorf("got changes %q, want A /x", got)
				}
				return err
			},
			done: func(*fixture) (bool, error) { return true, nil }},
		{name: "remove a mounted container", prepare: container(true), left: []string{"a", "b"},
			run: func(ctx context.Context, s *layers.Store, _ func(string)) error {
				_, err := s.RemoveContainer(ctx, "web", layers.RemoveOptions{})
				return err
			},
			done: func(f *fixture) (bool, error) {
				exists, err := containerExists("web")(f)
				return !exists, err
			}},
		{name: "remove layers", run: removeLayers,
			prepare: func(f *fixture) {
				container(false)(f)
				_, err := f.s.RemoveContainer(f.ctx, "web", layers.RemoveOptions{})
				check(f.t, err)
			},
			done: func(f *fixture) (bool, error) {
				all, err := f.s.Layers(f.ctx)
				inits, err2 := f.s.Inits(f.ctx)
				err = errors.Join(err, err2)
				if err == nil && (len(all) != 0 || len(inits) != 0) && (len(all) != 2 || len(inits) != 1) {
					err = fmt.Errorf("got %d all and %d inits, want none, or 2 and 1", len(all), len(inits))
				}
				return len(all) == 0, err
			}},
	}
}

func containerChanges(ctx context.Context, s *layers.Store, name string) (all []string, err error) {
	err = s.ContainerChanges(ctx, name, func(c changes.Change) error {
		all = append(all, c.String())
		return nil
	})
	return all, err
}

func removeLayers(ctx context.Context, s *layers.Store, _ func(string)) error {
	_, err := s.RemoveLayers(ctx, ids("a", "b"), layers.RemovalOptions{})
	return err
}

// loadImage returns an operation that makes a chain and an image's document.
func loadImage(words ...string) func(context.Context, *layers.Store, func(string)) error {
	return func(ctx context.Context, s *layers.Store, acked func(string)) (err error) {
		chain, err := s.BeginChain(ctx, layers.ChainOptions{Layers: ids(words...)})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, chain.Close()) }()
		for i := chain.Have(); i < len(words); i++ {
			_, err := chain.Add(ctx, layers.LayerSpec{ID: id(words[i]), Last: i == len(words)-1}, fill(words[i]))
			if err != nil {
				return err
			}
			acked(words[i])
		}
		return chain.Finish(
			ctx,
			func(tx *thinpool.Tx) error { return tx.Put(kindTestImages, words[len(words)-1], "image") },
		)
	}
}

// imageExists reports whether an image's document exists, and checks its last layer.
func imageExists(word string) func(*fixture) (bool, error) {
	return func(f *fixture) (bool, error) {
		exists := false
		err := f.pool.View(f.ctx, func(tx *thinpool.Tx) error {
			var text string
			err := tx.Get(kindTestImages, word, &text)
			if exists = err == nil; errors.Is(err, fault.NotFound) {
				err = nil
			}
			return err
		})
		if exists && err == nil {
			err = f.checkLayer(layerWords()[word]...)
		}
		return exists, err
	}
}

// containerExists reports whether a container exists, and checks that it has its image's files.
func containerExists(name string) func(*fixture) (bool, error) {
	return func(f *fixture) (bool, error) {
		_, err := f.s.Container(f.ctx, name)
		if errors.Is(err, fault.NotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		view, err := f.s.ViewContainer(f.ctx, name)
		if err != nil {
			return true, err
		}
		_, err = os.Stat(filepath.Join(view.Root, "file-b"))
		return true, errors.Join(err, view.Close())
	}
}

// committed reports whether the layer is committed. The caller's document must exist if and only if the layer does.
func committed(f *fixture) (bool, error) {
	all, err := f.s.Layers(f.ctx)
	if err != nil {
		return false, err
	}
	var layer string
	err = f.pool.View(f.ctx, func(tx *thinpool.Tx) error { return tx.Get(kindTestImages, "committed", &layer) })
	if errors.Is(err, fault.NotFound) {
		err = nil
	}
	i := slices.IndexFunc(all, func(l layers.Layer) bool { return l.Base != "" })
	if (i >= 0) != (layer != "") || i >= 0 && all[i].ID != layer {
		return false, fmt.Errorf("got the document of layer %q with all %v, want both or neither", layer, all)
	}
	if i < 0 || err != nil {
		return false, err
	}
	view, err := f.s.ViewLayer(f.ctx, layer)
	if err != nil {
		return true, err
	}
	_, err = os.Stat(filepath.Join(view.Root, "x"))
	return true, errors.Join(err, view.Close())
}

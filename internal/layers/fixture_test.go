package layers_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/fault"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/snapshotstest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
)

const poolName = "vault"

var wantError = snapshotstest.WantError

// wantCure checks the cure of an error of this package.
func wantCure(t *testing.T, err error, want fault.Cure) {
	t.Helper()
	var own *layers.Error
	if !errors.As(err, &own) || own.Cure != want {
		t.Errorf("got error %v, want one with the cure %+v", err, want)
	}
}

// fixture is a host in memory with one pool and its store.
type fixture struct {
	*snapshotstest.Fixture
	t    *testing.T
	ctx  context.Context
	s    *layers.Store
	pool *thinpool.Pool
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixtureOn(t, thinpooltest.SmallPool())
}

func newFixtureOn(t *testing.T, o thinpool.CreateOptions) *fixture {
	t.Helper()
	f := &fixture{t: t}
	f.Fixture, f.ctx = snapshotstest.NewWithPool(t, poolName, o)
	f.reopen()
	return f
}

// reopen opens the pool as the next process would.
func (f *fixture) reopen() {
	f.t.Helper()
	var err error
	f.s, err = f.Open(f.ctx, poolName, layers.Options{})
	check(f.t, err)
	f.pool = f.s.Pool()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// id returns the layer id of a word.
func id(word string) string {
	return fmt.Sprintf("%x", word) + strings.Repeat("0", 64-2*len(word))
}

func ids(words ...string) []string {
	var all []string
	for _, word := range words {
		all = append(all, id(word))
	}
	return all
}

// fill returns a function that writes a layer: a file with the name of its word, and the file "top".
func fill(word string) func(string) (layers.Filled, error) {
	return func(root string) (layers.Filled, error) {
		text := strings.Repeat(word+"\n", 10)
		err := os.WriteFile(filepath.Join(root, "file-"+word), []byte(text), 0o644)
		// All layers write this file.
		err = errors.Join(err, os.WriteFile(filepath.Join(root, "top"), []byte(word), 0o600))
		return layers.Filled{Size: 42, Entries: 2}, err
	}
}

// load makes a chain with one layer per word.
func load(ctx context.Context, s *layers.Store, words ...string) (err error) {
	chain, err := s.BeginChain(ctx, layers.ChainOptions{Layers: ids(words...)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, chain.Close()) }()
	for i, word := range words[chain.Have():] {
		last := i+chain.Have() == len(words)-1
		_, err := chain.Add(
			ctx,
			layers.LayerSpec{ID: id(word), DiffID: "sha256:" + id(word), Last: last},
			fill(word),
		)
		if err != nil {
			return err
		}
	}
	return chain.Finish(ctx, nil)
}

// checkLayer compares a layer's tree with the files that its chain has written.
func (f *fixture) checkLayer(words ...string) error {
	view, err := f.s.ViewLayer(f.ctx, id(words[len(words)-1]))
	if err != nil {
		return err
	}
	defer func() { check(f.t, view.Close()) }()
	return checkTree(view.Root, words...)
}

// checkTree compares a tree with the files that the layers of these words write.
func checkTree(root string, words ...string) error {
	var faults []error
	for _, word := range words {
		got, err := os.ReadFile(filepath.Join(root, "file-"+word))
		if err == nil && string(got) != strings.Repeat(word+"\n", 10) {
			err = fmt.Errorf("file-%s: got %q, want the word in 10 lines", word, got)
		}
		faults = append(faults, err)
	}
	got, err := os.ReadFile(filepath.Join(root, "top"))
	if err == nil && string(got) != words[len(words)-1] {
		err = fmt.Errorf("top: got %q, want %q", got, words[len(words)-1])
	}
	entries, more := os.ReadDir(root)
	if len(entries) != len(words)+1 {
		more = errors.Join(more, fmt.Errorf("the tree of %v: got %d entries, want %d", words, len(entries), len(words)+1))
	}
	return errors.Join(errors.Join(faults...), err, more)
}

// verify checks the pool and reports all that neither a finished nor an undone operation leaves behind.
func (f *fixture) verify() error {
	if _, _, err := f.pool.Reap(f.ctx); err != nil { // also records the volumes that the kernel has deleted
		return err
	}
	return f.Verify(f.ctx, f.s, snapshotstest.InUse{Active: "container", Containers: true})
}

func (f *fixture) create(name, layer string) layers.Container {
	f.t.Helper()
	c, err := f.s.CreateContainer(f.ctx, layers.ContainerOptions{Name: name, Layer: layer})
	check(f.t, err)
	return c
}

func (f *fixture) write(c layers.Container, file, text string) {
	f.t.Helper()
	root, err := f.s.MountContainer(f.ctx, c.ID, layers.MountOptions{})
	check(f.t, err)
	check(f.t, os.WriteFile(filepath.Join(root, file), []byte(text), 0o644))
}

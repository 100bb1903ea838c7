package snapshots_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thinctl/internal/testkit/snapshotstest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots"
	"thinctl/thinpool"
)

const poolName = "vault"

// stage is a world with one pool.
type stage struct {
	*snapshotstest.Fixture
	t    *testing.T
	ctx  context.Context
	s    *snapshots.Store
	pool *thinpool.Pool
}

func newStage(t *testing.T) *stage {
	t.Helper()
	return newStageOn(t, thinpooltest.SmallPool())
}

func newStageOn(t *testing.T, o thinpool.CreateOptions) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	st := &stage{Fixture: snapshotstest.New(t), t: t, ctx: ctx}
	_, err := thinpool.Create(ctx, st.Host(), st.Root, poolName, o)
	check(t, err)
	st.reopen()
	return st
}

// reopen is the next process.
func (st *stage) reopen() {
	st.t.Helper()
	var err error
	st.s, err = st.Open(st.ctx, poolName, snapshots.Options{})
	check(st.t, err)
	st.pool = st.s.Pool()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// id makes an id of a word.
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

// content is what the tests' layers hold: each word adds a file of its name.
func fill(word string) func(string) (snapshots.Filled, error) {
	return func(root string) (snapshots.Filled, error) {
		text := strings.Repeat(word+"\n", 10)
		err := os.WriteFile(filepath.Join(root, "file-"+word), []byte(text), 0o644)
		// The name that all layers write.
		err = errors.Join(err, os.WriteFile(filepath.Join(root, "top"), []byte(word), 0o600))
		return snapshots.Filled{Size: 42, Entries: 2}, err
	}
}

// load makes a chain of a word per layer.
func load(ctx context.Context, s *snapshots.Store, words ...string) (err error) {
	chain, err := s.BeginChain(ctx, snapshots.ChainOptions{Layers: ids(words...)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, chain.Close()) }()
	for i, word := range words[chain.Have():] {
		last := i+chain.Have() == len(words)-1
		_, err := chain.Add(
			ctx,
			snapshots.LayerSpec{ID: id(word), DiffID: "sha256:" + id(word), Last: last},
			fill(word),
		)
		if err != nil {
			return err
		}
	}
	return chain.Finish(ctx, nil)
}

// wholeLayer compares a layer's tree with what its chain has put there.
func (st *stage) wholeLayer(words ...string) error {
	view, err := st.s.ViewLayer(st.ctx, id(words[len(words)-1]))
	if err != nil {
		return err
	}
	defer func() { check(st.t, view.Close()) }()
	return wholeTree(view.Root, words...)
}

func wholeTree(root string, words ...string) error {
	var faults []error
	for _, word := range words {
		got, err := os.ReadFile(filepath.Join(root, "file-"+word))
		if err == nil && string(got) != strings.Repeat(word+"\n", 10) {
			err = fmt.Errorf("file-%s holds %q", word, got)
		}
		faults = append(faults, err)
	}
	got, err := os.ReadFile(filepath.Join(root, "top"))
	if err == nil && string(got) != words[len(words)-1] {
		err = fmt.Errorf("top holds %q, of %v", got, words)
	}
	entries, more := os.ReadDir(root)
	if len(entries) != len(words)+1 {
		more = errors.Join(more, fmt.Errorf("%d entries in a tree of %v", len(entries), words))
	}
	return errors.Join(errors.Join(faults...), err, more)
}

// agree tells of everything that no finished or undone operation leaves.
func (st *stage) agree() error {
	var faults []error
	say := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if _, _, err := st.pool.Reap(st.ctx); err != nil { // also notes what was given back
		return err
	}
	found, err := st.s.Check(st.ctx)
	if err != nil {
		return err
	}
	for _, d := range found {
		say("%s: %s", d.Object, d.Detail)
	}
	report, err := st.pool.Check(st.ctx)
	if err != nil {
		return err
	}
	for _, finding := range report.Findings {
		say("the pool's check found %+v", finding)
	}
	volumes, err := st.pool.Volumes(st.ctx)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if v.For == "work" {
			say("%s is left", v.Name)
		}
		if v.Active && v.For != "container" {
			say("%s is active", v.Name)
		}
	}
	status, err := st.pool.Status(st.ctx)
	if err != nil {
		return err
	}
	if status.Tombstones != 0 {
		say("%d tombstones are left", status.Tombstones)
	}
	entries, err := os.ReadDir(st.pool.MountsDir())
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			say("%s is left", entry.Name())
		}
	}
	for _, target := range st.Files.Targets() {
		if strings.HasPrefix(filepath.Base(target), ".") {
			say("%s is still mounted", target)
		}
	}
	if violations := st.Kernel.Violations(); len(violations) != 0 {
		say("%v", violations)
	}
	return errors.Join(faults...)
}

// is tells whether an error is of a kind and says these words.
func says(t *testing.T, err error, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%v is no %v", err, kind)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not say %q", err, word)
		}
	}
}

func (st *stage) create(name, layer string) snapshots.Container {
	st.t.Helper()
	c, err := st.s.CreateContainer(st.ctx, snapshots.ContainerOptions{Name: name, Layer: layer})
	check(st.t, err)
	return c
}

func (st *stage) write(c snapshots.Container, file, text string) {
	st.t.Helper()
	root, err := st.s.MountContainer(st.ctx, c.ID, snapshots.MountOptions{})
	check(st.t, err)
	check(st.t, os.WriteFile(filepath.Join(root, file), []byte(text), 0o644))
}

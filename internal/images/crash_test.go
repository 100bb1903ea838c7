package images_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"thinctl/internal/images"
	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/imagetest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
	"thinctl/units"
)

// operation is an operation during which a process is stopped.
type operation struct {
	name string
	// first holds the images that are loaded before. prepare does the other preparations.
	first   []*known
	prepare func(*fixture)
	run     func(context.Context, *images.Store) error
	// after is the list of images when the operation is complete.
	after []string
	// twice is the list of images when it was run twice; nil for after.
	twice []string
	// loose allows complete layers without an image after the operation was undone.
	loose bool
	// stride is the number of steps from one stop to the next; 0 for 7.
	stride int
	// again is the error of the second run after a complete one; nil for none.
	again error
}

var importedAt = time.Date(2021, 2, 3, 4, 5, 6, 0, time.UTC)

func operations(t *testing.T) []operation {
	one, two, renewed := knownOne(t), knownTwo(t), knownRenewed(t)
	flat := knownFlat(t)
	container := func(b *fixture) {
		image, err := b.s.Image(b.ctx, "one:1")
		b.check(err)
		c, err := b.s.Layers().CreateContainer(b.ctx, layers.ContainerOptions{Name: "web", Image: image.Key, Layer: image.Top()})
		b.check(err)
		target, err := b.s.Layers().MountContainer(b.ctx, c.ID, layers.MountOptions{})
		b.check(err)
		b.check(imagetest.Mutate(target, 7, 10))
		b.committed = b.container()
	}
	commit := func(ctx context.Context, s *images.Store) error {
		_, err := s.Commit(ctx, "web", images.CommitOptions{Names: names(t, "mine:1"), Changes: []string{"CMD x"}})
		return err
	}
	load := func(k *known, name string) func(context.Context, *images.Store) error {
		return func(ctx context.Context, s *images.Store) error {
			_, err := s.Load(ctx, k.Image, images.LoadOptions{Names: names(t, name)})
			return err
		}
	}
	remove := func(text string) func(context.Context, *images.Store) error {
		return func(ctx context.Context, s *images.Store) error {
			_, err := s.Remove(ctx, []string{text}, images.RemoveOptions{})
			return err
		}
	}
	return []operation{
		{name: "load", run: load(one, "one:1"), after: []string{"one: one:1"}, loose: true},
		{name: "load of shared layers", first: []*known{one}, run: load(two, "two:1"), after: []string{"one: one:1", "two: two:1"}, loose: true},
		{name: "load that takes a name", first: []*known{one}, run: load(renewed, "one:1"), after: []string{"one:", "renewed: one:1"}, loose: true},
		{name: "import", first: []*known{one}, loose: true, after: []string{"flat: flat:1", "one: one:1"},
			run: func(ctx context.Context, s *images.Store) error {
				_, err := s.Import(ctx, bytes.NewReader(flat.tar), images.ImportOptions{Names: names(t, "flat:1"), Created: importedAt})
				return err
			}},
		{name: "commit", stride: 3, first: []*known{one}, prepare: container, run: commit,
			after: []string{"committed: mine:1", "one: one:1"}, twice: []string{"committed:", "committed: mine:1", "one: one:1"}},
		{name: "digest", first: []*known{one}, after: []string{"committed, digested: mine:1", "one: one:1"},
			prepare: func(b *fixture) {
				container(b)
				b.check(commit(b.ctx, b.s))
			},
			run: func(ctx context.Context, s *images.Store) error {
				image, err := s.Digest(ctx, "mine:1")
				if err == nil && image.ID == "" {
					err = errors.New("it has no id")
				}
				return err
			}},
		{name: "tag", stride: 1, first: []*known{one, two}, after: []string{"one: one:1 two:1", "two:"},
			run: func(ctx context.Context, s *images.Store) error {
				_, err := s.Tag(ctx, "one:1", names(t, "two:1")[0])
				return err
			}},
		{name: "remove", first: []*known{one}, run: remove("one:1"), again: reference.ErrNotFound},
		{name: "remove an image with shared layers", first: []*known{one, two}, run: remove("two:1"), after: []string{"one: one:1"}, again: reference.ErrNotFound},
	}
}

// stop is the step at which a process is stopped, and the way in which it is stopped.
type stop struct {
	step  int
	phase thinpooltest.Phase
	power bool
}

func (s stop) String() string {
	return fmt.Sprintf("%s %s step %d", map[bool]string{false: "killed", true: "power cut"}[s.power],
		[...]string{"before", "after"}[s.phase], s.step)
}

// ways holds the ways in which a process can be stopped at a step.
var ways = []stop{{phase: thinpooltest.Before}, {phase: thinpooltest.After, power: true},
	{phase: thinpooltest.After}, {phase: thinpooltest.Before, power: true}}

// A process that is stopped at any step of an operation leaves it complete or undone. Each
// image is complete, and nothing else is left. Each way of stopping takes some of the
// steps, or all of them if THINCTL_EVERY_STEP is set.
func TestStoppedAtEveryStep(t *testing.T) {
	every := os.Getenv("THINCTL_EVERY_STEP") != ""
	var mu sync.Mutex
	stops := 0
	began := time.Now()
	t.Run("operations", func(t *testing.T) {
		for _, o := range operations(t) {
			t.Run(o.name, func(t *testing.T) {
				t.Parallel()
				stride := cmp.Or(o.stride, 7) // odd, so that each way reaches even and odd steps
				if every {
					stride = 1
				}
				steps, total := 0, 0
				for i, way := range ways {
					way.step = 1 + 2*i%stride
					for ; stopped(t, o, way); way.step += stride {
						total++
					}
					steps = max(steps, way.step-stride)
				}
				t.Logf("stopped %d times in some %d steps", total, steps)
				mu.Lock()
				defer mu.Unlock()
				stops += total
			})
		}
	})
	t.Logf("stopped %d times in %s", stops, time.Since(began).Round(time.Second))
}

// stopped stops the operation in a new fixture and checks the result. It reports whether
// the operation has such a step.
func stopped(t *testing.T, o operation, at stop) bool {
	t.Helper()
	b := newFixture(t)
	for _, k := range o.first {
		_, err := b.s.Load(b.ctx, k.Image, images.LoadOptions{Names: names(t, k.Names...)})
		b.check(err)
	}
	if o.prepare != nil {
		o.prepare(b)
	}
	before := b.list()
	b.world.StopAt(at.step, at.phase)
	opErr := o.run(b.ctx, b.s)
	step, stopped := b.world.Restart()
	if at.power {
		b.world.PowerOff(t)
	}
	fault := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s (%s), the operation returned %v: %s", at, step, opErr, fmt.Sprintf(format, args...))
	}
	b.reopen()
	after := b.list()
	done, undone := slices.Equal(after, o.after), slices.Equal(after, before)
	switch {
	case done == undone:
		fault("got images %q, want %q or %q", after, before, o.after)
	case opErr == nil && !done:
		fault("the operation succeeded: got images %q, want %q", after, o.after)
	}
	if undone && at.power && b.committed != nil {
		b.committed = b.container() // what was not saved is lost
	}
	for _, f := range b.faults(undone && o.loose) {
		fault("%v", f)
	}
	if b.committed != nil {
		for _, difference := range b.committed.Diff(b.container(), 5) {
			fault("the container: %s", difference)
		}
	}
	// The next process runs it again.
	err := o.run(b.ctx, b.s)
	if want := o.again; done && want != nil {
		if !errors.Is(err, want) {
			fault("run again: got %v, want %v", err, want)
		}
	} else if err != nil {
		fault("run again: got %v, want no error", err)
	}
	want := o.after
	if done && o.twice != nil {
		want = o.twice
	}
	if again := b.list(); !slices.Equal(again, want) {
		fault("run again: got images %q, want %q", again, want)
	}
	// An import that was undone has a layer that no other import can find.
	for _, f := range b.faults(o.name == "import") {
		fault("run again: %v", f)
	}
	if t.Failed() {
		return false
	}
	if !stopped {
		b.check(opErr)
	}
	return stopped
}

// reopen opens the pool and recovers, as the next process does after a kill.
func (b *fixture) reopen() {
	b.Helper()
	var err error
	b.pool, err = thinpool.Open(b.ctx, b.world.Host(), b.world.Root, "p")
	b.check(err)
	b.s = open(b.world, b.pool)
	b.check(b.pool.Activate(b.ctx))
	b.check(b.s.Recover(b.ctx))
}

// container returns the tree of the only container.
func (b *fixture) container() imagetest.Tree {
	b.Helper()
	view, err := b.s.Layers().ViewContainer(b.ctx, "web")
	b.check(err)
	tree, err := imagetest.ReadTree(b.ctx, view.Root)
	b.check(err)
	b.check(view.Close())
	return tree
}

// Recover removes splits that a process was still writing when it ended.
func TestRecoverClearsHalfWrittenSplits(t *testing.T) {
	b := newFixture(t)
	one := knownOne(t)
	_, err := b.s.Load(b.ctx, one.Image, images.LoadOptions{Names: names(t, one.Names...)})
	b.check(err)
	there, never := one.ChainIDs[0], knownTwo(t).ChainIDs[1]
	for _, name := range []string{"." + there + ".split.gz-123", "." + never + ".split.gz-4", never + ".split.gz"} {
		b.check(os.WriteFile(b.pool.LayersDir()+"/"+name, []byte("half"), 0o600))
	}
	b.check(b.s.Recover(b.ctx))
	for _, f := range b.faults(false) {
		b.Error(f)
	}
}

// used returns the bytes of the pool that are in use after all volumes were reaped.
func (b *fixture) used() units.Bytes {
	b.Helper()
	b.check(b.pool.Close(b.ctx))
	status, err := b.pool.Status(b.ctx)
	b.check(err)
	return status.Data.Used
}

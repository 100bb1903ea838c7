package snapshots_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"thinctl/fault"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots"
	"thinctl/thinpool"
	"thinctl/units"
)

// operation is something that a process is stopped in.
type operation struct {
	name    string
	prepare func(st *stage)
	run     func(ctx context.Context, s *snapshots.Store, acked func(layer string)) error
	// done tells whether it has happened. What has neither happened nor not is an
	// error.
	done func(st *stage) (bool, error)
	// volatile: it is in the kernel only, and ends with the power.
	volatile bool
	// left are layers that must be there whatever happens.
	left []string
}

// A process that is stopped at any step of any operation leaves it done or
// undone, after a restart and after a power cut; what was acknowledged is whole,
// nothing is leaked, and the operation can be carried out again.
func TestStoppedAtEveryStep(t *testing.T) {
	for _, o := range operations() {
		for _, power := range []bool{false, true} {
			t.Run(o.name+"/"+map[bool]string{false: "killed", true: "power cut"}[power], func(t *testing.T) {
				t.Parallel()
				// After a step is before the next: each is stopped before in one of the
				// two, and after in the other.
				phase, n := thinpooltest.Before, 1
				if power {
					phase = thinpooltest.After
				}
				for stopped(t, o, n, phase, power) {
					n += stride
					phase = thinpooltest.Before + thinpooltest.After - phase // the other one
				}
				if n < 3 && !t.Failed() {
					t.Errorf("only %d steps", n-1)
				}
			})
		}
	}
}

// stopped stops the operation at its n-th step in a new world, and tells whether
// there was such a step.
func stopped(t *testing.T, o operation, n int, phase thinpooltest.Phase, power bool) bool {
	t.Helper()
	st := newStage(t)
	o.prepare(st)
	check(t, st.pool.Close(st.ctx))
	victim, err := st.Open(st.ctx, poolName, snapshots.Options{})
	check(t, err)
	acked := slices.Clone(o.left)
	st.StopAt(n, phase)
	said := o.run(st.ctx, victim, func(layer string) { acked = append(acked, layer) })
	step, stopped := st.Restart()
	if power {
		st.PowerOff(t)
	}
	fault := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf(
				"stopped %s step %d (%s), the operation said: %v: %s: %v",
				[...]string{"before", "after"}[phase],
				n,
				step,
				said,
				what,
				err,
			)
		}
	}
	st.reopen()
	fault("activating", st.pool.Activate(st.ctx))
	fault("recovering", st.s.Recover(st.ctx))
	fault("it does not agree", st.agree())
	for _, layer := range acked {
		fault("an acknowledged layer", st.wholeLayer(layerWords()[layer]...))
	}
	done, err := o.done(st)
	fault("it is neither done nor undone", err)
	if said == nil && !done && (!power || !o.volatile) {
		fault("the operation", errors.New("acknowledged, and not done"))
	}
	if !stopped && said != nil {
		fault("the operation", said)
	}
	fault("whole layers", st.allWhole())
	if !done {
		fault("again", o.run(st.ctx, st.s, func(string) {}))
		done, err := o.done(st)
		if !done && err == nil {
			err = errors.New("not done")
		}
		fault("again", err)
	}
	fault("at the end it does not agree", errors.Join(st.allWhole(), st.agree()))
	fault("taking all down", st.takeDown())
	return stopped && !t.Failed()
}

// layerWords are the chains of the layers that tests make, by the last.
func layerWords() map[string][]string {
	return map[string][]string{"a": {"a"}, "b": {"a", "b"}, "c": {"a", "b", "c"}, "d": {"a", "b", "d"}}
}

// allWhole looks at every loaded layer that is there.
func (st *stage) allWhole() error {
	layers, err := st.s.Layers(st.ctx)
	if err != nil {
		return err
	}
	var faults []error
	for word, words := range layerWords() {
		if slices.ContainsFunc(layers, func(l snapshots.Layer) bool { return l.ID == id(word) }) {
			faults = append(faults, st.wholeLayer(words...))
		}
	}
	return errors.Join(faults...)
}

// takeDown removes everything; no block but the templates' may be left.
func (st *stage) takeDown() error {
	containers, err := st.s.Containers(st.ctx)
	if err != nil {
		return err
	}
	for _, c := range containers {
		if _, err := st.s.RemoveContainer(st.ctx, c.ID, snapshots.RemoveOptions{}); err != nil {
			return err
		}
	}
	layers, err := st.s.Layers(st.ctx)
	if err != nil {
		return err
	}
	var all []string
	for _, l := range layers {
		all = append(all, l.ID)
	}
	if _, err := st.s.RemoveLayers(st.ctx, all, snapshots.RemovalOptions{}); err != nil {
		return err
	}
	if err := st.agree(); err != nil {
		return err
	}
	usage, err := st.pool.Usage(st.ctx, thinpool.UsageOptions{})
	if err != nil {
		return err
	}
	for _, v := range usage.Volumes {
		if v.Name != "template-ext4-16777216" {
			return fmt.Errorf("%s is left", v)
		}
	}
	status, err := st.pool.Status(st.ctx)
	if err == nil && status.Data.Used != usage.Used {
		err = fmt.Errorf("%s of data are used, the trees say %s", status.Data.Used, usage.Used)
	}
	return err
}

const kindTestImages = thinpool.DocumentKind("images")

func operations() []operation {
	nothing := func(*stage) {}
	loaded := func(words ...string) func(*stage) {
		return func(st *stage) { check(st.t, load(st.ctx, st.s, words...)) }
	}
	container := func(mounted bool) func(*stage) {
		return func(st *stage) {
			loaded("a", "b")(st)
			web := st.create("web", id("b"))
			st.write(web, "x", "y")
			check(st.t, st.Files.Sync(st.ctx, filepath.Join(st.pool.MountsDir(), web.ID)))
			if !mounted {
				check(st.t, st.s.UnmountContainer(st.ctx, "web"))
			}
		}
	}
	commit := func(ctx context.Context, s *snapshots.Store, _ func(string)) error {
		_, err := s.CommitContainer(
			ctx,
			"web",
			snapshots.CommitOptions{With: func(tx *thinpool.Tx, l snapshots.Layer) error {
				return tx.Put(kindTestImages, "committed", l.ID)
			}},
		)
		return err
	}
	create := func(name string) func(context.Context, *snapshots.Store, func(string)) error {
		return func(ctx context.Context, s *snapshots.Store, _ func(string)) error {
			_, err := s.CreateContainer(ctx, snapshots.ContainerOptions{Name: name, Layer: id("b")})
			return err
		}
	}
	return []operation{
		{name: "load", prepare: nothing, run: loadImage("a", "b", "c"), done: imageThere("c")},
		{
			name:    "load that shares",
			prepare: loaded("a", "b", "c"),
			run:     loadImage("a", "b", "d"),
			done:    imageThere("d"),
			left:    []string{"a", "b", "c"},
		},
		{
			name:    "create a container",
			prepare: loaded("a", "b"),
			run:     create("web"),
			done:    containerThere("web"),
			left:    []string{"a", "b"},
		},
		{
			name:    "create another",
			prepare: container(false),
			run:     create("db"),
			done:    containerThere("db"),
			left:    []string{"a", "b"},
		},
		{name: "commit mounted", prepare: container(true), run: commit, done: committed, left: []string{"a", "b"}},
		{name: "commit unmounted", prepare: container(false), run: commit, done: committed, left: []string{"a", "b"}},
		{name: "mount and grow", left: []string{"a", "b"},
			prepare: func(st *stage) {
				loaded("a", "b")(st)
				_, err := st.s.CreateContainer(
					st.ctx,
					snapshots.ContainerOptions{Name: "web", Layer: id("b"), Size: 32 * units.MiB},
				)
				check(st.t, err)
			},
			run: func(ctx context.Context, s *snapshots.Store, _ func(string)) error {
				_, err := s.MountContainer(ctx, "web", snapshots.MountOptions{})
				return err
			},
			volatile: true, done: func(st *stage) (bool, error) {
				c, err := st.s.Container(st.ctx, "web")
				return len(st.Files.Targets()) == 1 && c.FileSystem == 0, err
			}},
		{name: "unmount", prepare: container(true), left: []string{"a", "b"},
			run: func(ctx context.Context, s *snapshots.Store, _ func(string)) error {
				err := s.UnmountContainer(ctx, "web")
				if errors.Is(err, snapshots.ErrNotMounted) {
					return nil
				}
				return err
			},
			volatile: true, done: func(st *stage) (bool, error) { return len(st.Files.Targets()) == 0, nil }},
		{name: "view", prepare: loaded("a", "b"), left: []string{"a", "b"},
			run: func(ctx context.Context, s *snapshots.Store, _ func(string)) error {
				view, err := s.ViewLayer(ctx, id("b"))
				if err != nil {
					return err
				}
				return errors.Join(wholeTree(view.Root, "a", "b"), view.Close())
			},
			done: func(*stage) (bool, error) { return true, nil }},
		{name: "remove a mounted container", prepare: container(true), left: []string{"a", "b"},
			run: func(ctx context.Context, s *snapshots.Store, _ func(string)) error {
				_, err := s.RemoveContainer(ctx, "web", snapshots.RemoveOptions{})
				return err
			},
			done: func(st *stage) (bool, error) {
				there, err := containerThere("web")(st)
				return !there, err
			}},
		{name: "remove layers", run: removeAll,
			prepare: func(st *stage) {
				container(false)(st)
				_, err := st.s.RemoveContainer(st.ctx, "web", snapshots.RemoveOptions{})
				check(st.t, err)
			},
			done: func(st *stage) (bool, error) {
				layers, err := st.s.Layers(st.ctx)
				inits, err2 := st.s.Inits(st.ctx)
				err = errors.Join(err, err2)
				if err == nil && (len(layers) != 0 || len(inits) != 0) && (len(layers) != 2 || len(inits) != 1) {
					err = fmt.Errorf("%d layers and %d inits are left", len(layers), len(inits))
				}
				return len(layers) == 0, err
			}},
	}
}

func removeAll(ctx context.Context, s *snapshots.Store, _ func(string)) error {
	_, err := s.RemoveLayers(ctx, ids("a", "b"), snapshots.RemovalOptions{})
	return err
}

// loadImage makes a chain and an image's document.
func loadImage(words ...string) func(context.Context, *snapshots.Store, func(string)) error {
	return func(ctx context.Context, s *snapshots.Store, acked func(string)) (err error) {
		chain, err := s.BeginChain(ctx, snapshots.ChainOptions{Layers: ids(words...)})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, chain.Close()) }()
		for i := chain.Have(); i < len(words); i++ {
			_, err := chain.Add(ctx, snapshots.LayerSpec{ID: id(words[i]), Last: i == len(words)-1}, fill(words[i]))
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

func imageThere(word string) func(*stage) (bool, error) {
	return func(st *stage) (bool, error) {
		there := false
		err := st.pool.View(st.ctx, func(tx *thinpool.Tx) error {
			var text string
			err := tx.Get(kindTestImages, word, &text)
			if there = err == nil; errors.Is(err, fault.NotFound) {
				err = nil
			}
			return err
		})
		if there && err == nil {
			err = st.wholeLayer(layerWords()[word]...)
		}
		return there, err
	}
}

func containerThere(name string) func(*stage) (bool, error) {
	return func(st *stage) (bool, error) {
		_, err := st.s.Container(st.ctx, name)
		if errors.Is(err, fault.NotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		view, err := st.s.ViewContainer(st.ctx, name)
		if err != nil {
			return true, err
		}
		_, err = os.Stat(filepath.Join(view.Root, "file-b"))
		return true, errors.Join(err, view.Close())
	}
}

// committed: the caller's document is there exactly where the layer is.
func committed(st *stage) (bool, error) {
	layers, err := st.s.Layers(st.ctx)
	if err != nil {
		return false, err
	}
	var layer string
	err = st.pool.View(st.ctx, func(tx *thinpool.Tx) error { return tx.Get(kindTestImages, "committed", &layer) })
	if errors.Is(err, fault.NotFound) {
		err = nil
	}
	i := slices.IndexFunc(layers, func(l snapshots.Layer) bool { return l.Base != "" })
	if (i >= 0) != (layer != "") || i >= 0 && layers[i].ID != layer {
		return false, fmt.Errorf("the layers are %v, the document says %q", layers, layer)
	}
	if i < 0 || err != nil {
		return false, err
	}
	view, err := st.s.ViewLayer(st.ctx, layer)
	if err != nil {
		return true, err
	}
	_, err = os.Stat(filepath.Join(view.Root, "x"))
	return true, errors.Join(err, view.Close())
}

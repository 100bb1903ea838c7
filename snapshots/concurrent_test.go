package snapshots_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"thinctl/fault"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// Sixteen at once, in two processes, load and remove chains that overlap, and
// make, commit and remove containers. Whatever each is told must be so, and in the
// end documents, volumes and trees agree.
func TestCrowd(t *testing.T) {
	st := newStage(t)
	ctx, cancel := context.WithTimeout(st.ctx, 10*time.Minute)
	defer cancel()
	other, err := st.Open(ctx, poolName, snapshots.Options{})
	check(t, err)
	stores := []*snapshots.Store{st.s, other}
	const each = 12
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			member := &member{s: stores[i%2], name: fmt.Sprintf("m%d", i), random: rand.New(rand.NewPCG(uint64(i), 4))}
			for n := range each {
				if err := member.step(ctx, n); err != nil {
					t.Errorf("%s, act %d: %v", member.name, n, err)
					return
				}
			}
		})
	}
	all.Wait()
	check(t, st.s.Recover(ctx))
	check(t, other.Pool().Close(ctx))
	check(t, errors.Join(st.allWhole(), st.agree()))
	check(t, st.takeDown())
}

type member struct {
	s      *snapshots.Store
	name   string
	random *rand.Rand
}

func (m *member) step(ctx context.Context, n int) error {
	chains := [][]string{{"a", "b", "c"}, {"a", "b", "d"}, {"a"}, {"a", "b"}}
	words := chains[m.random.IntN(len(chains))]
	switch m.random.IntN(4) {
	case 0:
		_, err := m.s.RemoveLayers(ctx, ids(words...), snapshots.RemovalOptions{Unused: true})
		if errors.Is(err, fault.Busy) {
			return nil // somebody looks at it
		}
		return err
	case 1:
		err := load(ctx, m.s, words...)
		if err != nil {
			return err
		}
		return m.look(ctx, words)
	}
	return m.contain(ctx, words, n)
}

func (m *member) look(ctx context.Context, words []string) error {
	view, err := m.s.ViewLayer(ctx, id(words[len(words)-1]))
	if errors.Is(err, fault.NotFound) {
		return nil // somebody has removed it since
	}
	if err != nil {
		return err
	}
	return errors.Join(wholeTree(view.Root, words...), view.Close())
}

// contain holds an image's layers, as a load does, until a container stands on it.
func (m *member) contain(ctx context.Context, words []string, n int) error {
	chain, err := m.s.BeginChain(ctx, snapshots.ChainOptions{Layers: ids(words...)})
	if err != nil {
		return err
	}
	defer chain.Close()
	for i := chain.Have(); i < len(words); i++ {
		if _, err := chain.Add(
			ctx,
			snapshots.LayerSpec{ID: id(words[i]), Last: i == len(words)-1},
			fill(words[i]),
		); err != nil {
			return err
		}
	}
	name := fmt.Sprintf("%s-%d", m.name, n)
	if _, err := m.s.CreateContainer(
		ctx,
		snapshots.ContainerOptions{Name: name, Layer: id(words[len(words)-1])},
	); err != nil {
		return err
	}
	if err := chain.Finish(ctx, func(*thinpool.Tx) error { return nil }); err != nil {
		return err
	}
	root, err := m.s.MountContainer(ctx, name, snapshots.MountOptions{})
	if err != nil {
		return err
	}
	layer, err := m.s.CommitContainer(ctx, name, snapshots.CommitOptions{})
	if err != nil {
		return err
	}
	if _, err := m.s.Layer(ctx, layer.ID); err != nil {
		return fmt.Errorf("committed at %s: %w", root, err)
	}
	if _, err := m.s.RemoveContainer(ctx, name, snapshots.RemoveOptions{}); err != nil {
		return err
	}
	_, err = m.s.RemoveLayers(ctx, []string{layer.ID}, snapshots.RemovalOptions{})
	return err
}

// What a living process uses is not touched by another's recovery.
func TestRecoverLeavesTheLivingAlone(t *testing.T) {
	st := newStage(t)
	other, err := st.Open(st.ctx, poolName, snapshots.Options{})
	check(t, err)
	chain, err := st.s.BeginChain(st.ctx, snapshots.ChainOptions{Layers: ids("a", "b")})
	check(t, err)
	_, err = chain.Add(st.ctx, snapshots.LayerSpec{ID: id("a")}, fill("a"))
	check(t, err)
	view, err := other.ViewLayer(st.ctx, id("a"))
	check(t, err)
	_, err = chain.Add(
		st.ctx,
		snapshots.LayerSpec{ID: id("b"), Last: true},
		func(root string) (snapshots.Filled, error) {
			check(t, other.Recover(st.ctx))
			check(t, load(st.ctx, other, "e"))
			_, err := other.RemoveLayers(st.ctx, ids("a"), snapshots.RemovalOptions{})
			says(t, err, fault.Busy, "in progress")
			return fill("b")(root)
		},
	)
	check(t, err)
	check(t, wholeTree(view.Root, "a"))
	check(t, view.Close())
	check(t, chain.Close())
	check(t, errors.Join(st.wholeLayer("a", "b"), st.agree()))
}

// The same layer, asked for by many at once, is made once.
func TestManyMakeOneLayer(t *testing.T) {
	st := newStage(t)
	var mu sync.Mutex
	filled := map[string]int{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			chain, err := st.s.BeginChain(st.ctx, snapshots.ChainOptions{Layers: ids("a", "b")})
			if err != nil {
				t.Error(err)
				return
			}
			defer chain.Close()
			for i, word := range []string{"a", "b"}[chain.Have():] {
				last := i+chain.Have() == 1
				_, err := chain.Add(
					st.ctx,
					snapshots.LayerSpec{ID: id(word), Last: last},
					func(root string) (snapshots.Filled, error) {
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
			if err := chain.Finish(st.ctx, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if filled["a"] != 1 || filled["b"] != 1 {
		t.Errorf("filled %v", filled)
	}
	if formats, _ := st.Files.Counts(); formats != 1 {
		t.Errorf("%d formats", formats)
	}
	check(t, errors.Join(st.wholeLayer("a", "b"), st.agree()))
}

// A mount namespace that was made during a load keeps the working volume's mount.
// That fails nothing.
func TestStrangerInTheWorkingVolume(t *testing.T) {
	st := newStage(t)
	var leave []func()
	hold := func() {
		volumes, err := st.pool.Volumes(st.ctx)
		check(t, err)
		for _, v := range volumes {
			if v.For == "work" {
				gone, err := st.Files.MountElsewhere(v.Dev, filesystem.Holder{Namespace: 2})
				check(t, err)
				leave = append(leave, gone)
			}
		}
	}
	chain, err := st.s.BeginChain(st.ctx, snapshots.ChainOptions{Layers: ids("a", "b")})
	check(t, err)
	for _, word := range []string{"a", "b"} {
		_, err = chain.Add(
			st.ctx,
			snapshots.LayerSpec{ID: id(word), Last: word == "b"},
			func(root string) (snapshots.Filled, error) {
				hold()
				return fill(word)(root)
			},
		)
		check(t, err)
	}
	check(t, chain.Finish(st.ctx, nil))
	check(t, st.wholeLayer("a", "b"))
	if _, waiting, err := st.pool.Reap(st.ctx); len(waiting) != 1 || err != nil {
		t.Errorf("%d wait, %v", len(waiting), err)
	}
	for _, gone := range leave {
		gone()
	}
	check(t, st.agree())
}

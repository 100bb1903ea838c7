package snapshots_test

import (
	"errors"
	"strings"
	"testing"

	"thinctl/fault"
	"thinctl/snapshots"
	"thinctl/thinpool"
)

func TestCheckFinds(t *testing.T) {
	drop := func(kind thinpool.DocumentKind, key string) func(*stage) error {
		return func(st *stage) error {
			return st.pool.Update(st.ctx, func(tx *thinpool.Tx) error { return tx.Delete(kind, key) })
		}
	}
	for _, c := range []struct {
		name   string
		damage func(st *stage) error
		want   []string // each in one of what is found
	}{
		{"nothing", func(*stage) error { return nil }, nil},
		{"a layer's document", drop("layers", id("b")), []string{"volume layer-" + id("b"), "container web", "init " + id("b")}},
		{"an init's document", drop("inits", id("b")), []string{"volume init-" + id("b"), "container web"}},
		{"a template's document", drop("templates", "ext4-16777216"), []string{"volume template-", "layer " + id("a")}},
		{"a name", drop("container-names", "web"), []string{"container web"}},
		{"a volume", func(st *stage) error {
			_, err := st.pool.RemoveVolume(st.ctx, "layer-"+id("a"), thinpool.RemoveOptions{For: "layer"})
			return err
		}, []string{"volume layer-" + id("a")}},
		{"what a volume is for", func(st *stage) error {
			return st.pool.Update(st.ctx, func(tx *thinpool.Tx) error {
				v, err := tx.Volume("layer-" + id("a"))
				return errors.Join(err, tx.Keep(v, "container"))
			})
		}, []string{"volume layer-" + id("a")}},
		{"a volume of nobody's work", func(st *stage) error {
			_, err := st.pool.CreateVolume(st.ctx, "work-1", thinpool.VolumeOptions{Keep: thinpool.Keep{For: "work"}})
			return err
		}, []string{"volume work-1"}},
		{"a volume of the user's own", func(st *stage) error {
			_, err := st.pool.CreateVolume(st.ctx, "mine", thinpool.VolumeOptions{})
			return err
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newStage(t)
			check(t, load(st.ctx, st.s, "a", "b"))
			st.create("web", id("b"))
			check(t, c.damage(st))
			found, err := st.s.Check(st.ctx)
			check(t, err)
			for _, want := range c.want {
				matches := 0
				for _, d := range found {
					if strings.HasPrefix(d.Object, want) {
						matches++
					}
				}
				if matches == 0 {
					t.Errorf("%q is not among %+v", want, found)
				}
			}
			if len(c.want) == 0 && len(found) != 0 {
				t.Errorf("%+v", found)
			}
			volumes, err := st.pool.Volumes(st.ctx)
			check(t, err)
			var done []string
			check(
				t,
				st.pool.Update(
					st.ctx,
					func(tx *thinpool.Tx) (err error) { done, err = snapshots.RepairIn(tx); return err },
				),
			)
			if len(done) == 0 && len(c.want) > 0 && c.name != "a name" {
				t.Error("the repair does not say what it has done")
			}
			if found, err = st.s.Check(st.ctx); err != nil || len(found) > 0 {
				t.Errorf("after the repair, which did %q: %+v, %v", done, found, err)
			}
			if now, err := st.pool.Volumes(st.ctx); err != nil || len(now) != len(volumes) {
				t.Errorf("%d volumes, %v; the repair must keep all %d", len(now), err, len(volumes))
			}
		})
	}
}

func TestViewsAtOnce(t *testing.T) {
	st := newStage(t)
	check(t, load(st.ctx, st.s, "a"))
	one, err := st.s.ViewLayer(st.ctx, id("a"))
	check(t, err)
	two, err := st.s.ViewLayer(st.ctx, id("a")[:3])
	check(t, err)
	check(t, one.Close())
	check(t, one.Close())
	check(t, wholeTree(two.Root, "a"))
	check(t, two.Close())
	_, err = st.s.ViewLayer(st.ctx, id("b"))
	says(t, err, fault.NotFound)
	check(t, st.agree())
}

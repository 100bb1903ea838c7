package layers_test

import (
	"errors"
	"strings"
	"testing"

	"thinctl/fault"
	"thinctl/internal/layers"
	"thinctl/thinpool"
)

func TestCheckFinds(t *testing.T) {
	drop := func(kind thinpool.DocumentKind, key string) func(*fixture) error {
		return func(f *fixture) error {
			return f.pool.Update(f.ctx, func(tx *thinpool.Tx) error { return tx.Delete(kind, key) })
		}
	}
	for _, c := range []struct {
		name   string
		damage func(f *fixture) error
		want   []string // prefixes of the objects to be found
	}{
		{"nothing", func(*fixture) error { return nil }, nil},
		{"a layer's document", drop("layers", id("b")), []string{"snapshot layer-" + id("b")}},
		{"a layer's snapshot", drop("snapshots", "./layer-"+id("b")),
			[]string{"layer " + id("b"), "volume layer-" + id("b"), `snapshot "init-` + id("b")}},
		{"a container's document", func(f *fixture) error {
			c, err := f.s.Container(f.ctx, "web")
			return errors.Join(err, drop("containers", c.ID)(f))
		}, []string{"snapshot container-", "name web"}},
		{"an init's snapshot", drop("snapshots", "./init-"+id("b")), []string{"volume init-" + id("b"), `snapshot "container-`}},
		{"a template's document", drop("templates", "ext4-16777216"), []string{"volume template-"}},
		{"a name", drop("container-names", "web"), []string{"container web"}},
		{"a volume", func(f *fixture) error {
			_, err := f.pool.RemoveVolume(f.ctx, "layer-"+id("a"), thinpool.RemoveOptions{For: "layer"})
			return err
		}, []string{`snapshot "layer-` + id("a")}},
		{"the owner class of a volume", func(f *fixture) error {
			return f.pool.Update(f.ctx, func(tx *thinpool.Tx) error {
				v, err := tx.Volume("layer-" + id("a"))
				return errors.Join(err, tx.Keep(v, "container"))
			})
		}, []string{`snapshot "layer-` + id("a")}},
		{"a working volume without a lease", func(f *fixture) error {
			_, err := f.pool.CreateVolume(f.ctx, "work-1", thinpool.VolumeOptions{Keep: thinpool.Keep{For: "work"}})
			return err
		}, []string{"volume work-1"}},
		{"a volume of the user's own", func(f *fixture) error {
			_, err := f.pool.CreateVolume(f.ctx, "mine", thinpool.VolumeOptions{})
			return err
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			check(t, load(f.ctx, f.s, "a", "b"))
			f.create("web", id("b"))
			check(t, c.damage(f))
			found, err := f.s.Check(f.ctx)
			check(t, err)
			for _, want := range c.want {
				matches := 0
				for _, d := range found {
					if strings.HasPrefix(d.Object, want) {
						matches++
					}
				}
				if matches == 0 {
					t.Errorf("got findings %+v, want one of %q", found, want)
				}
			}
			if len(c.want) == 0 && len(found) != 0 {
				t.Errorf("got findings %+v, want none", found)
			}
			volumes, err := f.pool.Volumes(f.ctx)
			check(t, err)
			var done []string
			check(
				t,
				f.pool.Update(
					f.ctx,
					func(tx *thinpool.Tx) (err error) { done, err = layers.RepairIn(tx); return err },
				),
			)
			if len(done) == 0 && len(c.want) > 0 && c.name != "a name" {
				t.Error("got no report of the repair, want its steps")
			}
			if found, err = f.s.Check(f.ctx); err != nil || len(found) > 0 {
				t.Errorf("after the repair %q: got findings %+v, error %v, want none", done, found, err)
			}
			if now, err := f.pool.Volumes(f.ctx); err != nil || len(now) != len(volumes) {
				t.Errorf("after the repair: got %d volumes, error %v, want all %d kept", len(now), err, len(volumes))
			}
		})
	}
}

// Two views of a layer are independent of each other.
func TestConcurrentViews(t *testing.T) {
	f := newFixture(t)
	check(t, load(f.ctx, f.s, "a"))
	one, err := f.s.ViewLayer(f.ctx, id("a"))
	check(t, err)
	two, err := f.s.ViewLayer(f.ctx, id("a")[:3])
	check(t, err)
	check(t, one.Close())
	check(t, one.Close())
	check(t, checkTree(two.Root, "a"))
	check(t, two.Close())
	_, err = f.s.ViewLayer(f.ctx, id("b"))
	wantError(t, err, fault.NotFound)
	check(t, f.verify())
}

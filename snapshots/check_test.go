package snapshots_test

import (
	"errors"
	"strings"
	"testing"

	"thinctl/snapshots"
	"thinctl/thinpool"
)

// TestCheckFinds damages the documents or the volumes of a namespace. Check reports the damage, and a repair leaves
// documents that agree, and every volume.
func TestCheckFinds(t *testing.T) {
	change := func(do func(f *fixture, tx *thinpool.Tx) error) func(*fixture) error {
		return func(f *fixture) error {
			return f.Pool.Update(f.Ctx, func(tx *thinpool.Tx) error { return do(f, tx) })
		}
	}
	drop := func(kind thinpool.DocumentKind, key string) func(*fixture) error {
		return change(func(_ *fixture, tx *thinpool.Tx) error { return tx.Delete(kind, key) })
	}
	find := func(tx *thinpool.Tx, name string) (snapshots.Record, error) {
		r, found, err := snapshots.Find(tx, "default", name)
		if err == nil && !found {
			err = errors.New("got no snapshot " + name)
		}
		return r, err
	}
	for _, c := range []struct {
		name   string
		damage func(f *fixture) error
		want   []string // prefixes of the findings
		left   []string // snapshots after the repair
	}{
		{"nothing", func(*fixture) error { return nil }, nil, []string{"a", "b", "look", "web"}},
		{"a parent's document", drop("snapshots", "default/b"),
			[]string{`snapshot "default/web": its parent "b" is missing`, `snapshot "default/look": its parent`}, []string{"a"}},
		{"the document of a base", drop("snapshots", "default/a"),
			[]string{`snapshot "default/b": its parent "a" is missing`}, nil},
		{"the document of a child", change(func(f *fixture, tx *thinpool.Tx) error {
			a, err := find(tx, "a")
			b, err2 := find(tx, "b")
			return errors.Join(err, err2, tx.Delete("snapshot-children", "default/"+a.ID+"/"+b.ID))
		}), []string{`snapshot "default/b": its parent does not have it as a child`}, []string{"a", "b", "look", "web"}},
		{"the document of a child without a snapshot", change(func(f *fixture, tx *thinpool.Tx) error {
			a, err := find(tx, "a")
			return errors.Join(err, tx.Put("snapshot-children", "default/"+a.ID+"/0123", "gone"))
		}), []string{`snapshot "gone": it is recorded as the child`}, []string{"a", "b", "look", "web"}},
		{"the number of views", change(func(f *fixture, tx *thinpool.Tx) error {
			b, err := find(tx, "b")
			b.Views = 7
			return errors.Join(err, tx.Put("snapshots", "default/b", b))
		}), []string{`snapshot "default/b": it records 7 views, and has 1`}, []string{"a", "b", "look", "web"}},
		{"a volume", func(f *fixture) error {
			var a snapshots.Record
			err := f.Pool.View(f.Ctx, func(tx *thinpool.Tx) (err error) { a, err = find(tx, "a"); return err })
			if err != nil {
				return err
			}
			_, err = f.Pool.RemoveVolume(f.Ctx, a.Volume, thinpool.RemoveOptions{For: "containerd"})
			return err
		}, []string{`snapshot "default/a": its volume containerd-`}, nil},
		{"the purpose of a volume", change(func(f *fixture, tx *thinpool.Tx) error {
			a, err := find(tx, "a")
			volume, err2 := tx.Volume(a.Volume)
			return errors.Join(err, err2, tx.Keep(volume, "layer"))
		}), []string{`snapshot "default/a": its volume`}, []string{"a", "b", "look", "web"}},
		{"a template's document", drop("templates", "ext4-16777216"), []string{"volume template-"},
			[]string{"a", "b", "look", "web"}},
		{"a template's volume", func(f *fixture) error {
			_, err := f.Pool.RemoveVolume(f.Ctx, "template-ext4-16777216", thinpool.RemoveOptions{For: "template"})
			return err
		}, []string{"template ext4-16777216: its volume"}, []string{"a", "b", "look", "web"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.Layer("a", "")
			f.Layer("b", "a")
			_, err := f.S.Prepare(f.Ctx, "web", "b")
			check(t, err)
			_, err = f.S.View(f.Ctx, "look", "b")
			check(t, err)
			check(t, c.damage(f))
			found, err := f.S.Check(f.Ctx)
			check(t, err)
			for _, want := range c.want {
				if !hasFinding(found, want) {
					t.Errorf("got findings %+v, want one of %q", found, want)
				}
			}
			if len(c.want) == 0 && len(found) != 0 {
				t.Errorf("got findings %+v, want none", found)
			}
			before, err := f.Pool.Volumes(f.Ctx)
			check(t, err)
			var done []string
			check(t, f.Pool.Update(f.Ctx, func(tx *thinpool.Tx) (err error) { done, err = snapshots.RepairIn(tx); return err }))
			if found, err = f.S.Check(f.Ctx); err != nil || len(found) > 0 {
				t.Errorf("after the repair %q: got findings %+v, error %v, want none", done, found, err)
			}
			after, err := f.Pool.Volumes(f.Ctx)
			check(t, err)
			if len(after) != len(before) {
				t.Errorf("after the repair %q: got %d volumes, want all %d kept", done, len(after), len(before))
			}
			if got, want := strings.Join(f.Names(f.S), " "), strings.Join(c.left, " "); got != want {
				t.Errorf("after the repair %q: got snapshots %s, want %s", done, got, want)
			}
		})
	}
}

func hasFinding(found []snapshots.Disagreement, prefix string) bool {
	for _, d := range found {
		if strings.HasPrefix(d.Object+": "+d.Detail, prefix) {
			return true
		}
	}
	return false
}

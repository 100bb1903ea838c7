package layers_test

import (
	"slices"
	"testing"

	"thinctl/internal/changes"
	"thinctl/thinpool"
)

// The changes of a mounted container are read from a snapshot of it, so that they are those of one moment. In a pool
// that takes no snapshot they are read from the container's own tree.
func TestChangesOfMounted(t *testing.T) {
	for name, reserve := range map[string]int{"snapshot": 0, "no snapshot": 90} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			check(t, load(f.ctx, f.s, "a"))
			f.write(f.create("web", id("a")), "x", "x")
			_, err := f.pool.CreateVolume(f.ctx, "other", thinpool.VolumeOptions{})
			check(t, err)
			other, err := f.pool.ActivateVolume(f.ctx, "other")
			check(t, err)
			check(t, f.Kernel.Write(other.Dev, 0, other.Size)) // a quarter of the pool
			_, _, err = f.pool.Set(f.ctx, thinpool.SetOptions{ReserveData: &reserve})
			check(t, err)
			before, err := f.pool.Volumes(f.ctx)
			check(t, err)
			var got []string
			check(t, f.s.ContainerChanges(f.ctx, "web", func(c changes.Change) error {
				got = append(got, c.String())
				during, err := f.pool.Volumes(f.ctx)
				if taken := len(during) - len(before); err == nil && (taken == 1) != (reserve == 0) {
					t.Errorf("got %d more volumes while the trees are read", taken)
				}
				return err
			}))
			if want := []string{"A /x"}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			check(t, f.pool.DeactivateVolume(f.ctx, "other"))
			check(t, f.verify())
		})
	}
}

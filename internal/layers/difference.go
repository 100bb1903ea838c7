package layers

import (
	"context"

	"thinctl/internal/changes"
	"thinctl/snapshots"
	"thinctl/thinpool"
)

// LayerChanges calls visit with each difference of the upper layer from the lower one,
// by the rules of docker diff. If lower is "", it compares with what the upper layer
// was made on.
func (s *Store) LayerChanges(ctx context.Context, lower, upper string, visit func(changes.Change) error) error {
	up, err := s.Layer(ctx, upper)
	if err != nil {
		return err
	}
	below, related := up.Below(), true
	if lower != "" {
		low, err := s.Layer(ctx, lower)
		if err != nil {
			return err
		}
		below = low.Tree()
		if related, err = s.Related(ctx, low.ID, up.ID); err != nil {
			return err
		}
	}
	return failed("compare", "layer "+short(up.ID), s.walk(ctx, below, up.Tree(), related, visit))
}

// ContainerChanges calls visit with each change in a container, mounted or not, since
// it was made, by the rules of docker diff.
func (s *Store) ContainerChanges(ctx context.Context, id string, visit func(changes.Change) error) error {
	c, err := s.Container(ctx, id)
	if err != nil {
		return err
	}
	return failed("compare", "container "+c.Name, s.walk(ctx, c.Below(), c.Tree(), true, visit))
}

func (s *Store) walk(
	ctx context.Context,
	lower, upper snapshots.Tree,
	related bool,
	visit func(changes.Change) error,
) error {
	return s.snaps.WithTrees(ctx, lower, upper, related, func(t snapshots.Trees) error {
		return changes.Walk(ctx, t.Lower, t.Upper, t.Options(false), visit)
	})
}

// Related reports whether one layer was made on the other. Only then is an inode that
// looks the same the same: in layers that were made side by side, two files may have
// the same inode number and the same times.
func (s *Store) Related(ctx context.Context, a, b string) (bool, error) {
	found := false
	err := s.pool.View(ctx, func(tx *thinpool.Tx) error {
		for _, pair := range [][2]string{{a, b}, {b, a}} {
			for at := pair[0]; at != "" && !found; {
				found = at == pair[1]
				layer, there, err := layerIn(tx, at)
				if err != nil {
					return err
				}
				if !there {
					break
				}
				at = layer.Parent
			}
		}
		return nil
	})
	return found, err
}

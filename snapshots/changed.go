package snapshots

import (
	"context"
	"errors"
	"iter"
	"os"
	"time"

	"thinctl/internal/changes"
	"thinctl/internal/ext4"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// Trees are two file trees to be compared.
type Trees struct {
	// Lower is the root of the older tree, "" for an empty one.
	Lower string
	// Upper is the root of the newer tree.
	Upper string
	// Related reports whether one tree is a snapshot of the other, or of what the other
	// was made of.
	Related bool

	only changes.Names // the paths that may differ; nil if all may
}

// Options returns the options for a walk that compares the trees; exact is
// [changes.Options].Exact.
func (t Trees) Options(exact bool) changes.Options {
	return changes.Options{SameOrigin: t.Related, Exact: exact, Only: t.only}
}

// comparison returns the trees for a comparison. If they are related, the blocks in which
// their volumes differ give the paths that may differ, so that the walk need not read the
// rest. Both trees are mounted. The blocks of a tree that another owner has mounted may
// change while they are read, so they give nothing.
func (s *Snapshotter) comparison(ctx context.Context, lower, upper shownTree, related bool) Trees {
	trees := Trees{Lower: lower.root, Upper: upper.root, Related: related}
	if !related || lower.node == "" || upper.node == "" || lower.fs != filesystem.Ext4 || upper.fs != filesystem.Ext4 {
		return trees
	}
	var err error
	if trees.only, err = s.changed(ctx, lower, upper); err != nil {
		s.options.Log.Debug("two trees are compared without their block delta",
			"pool", s.pool.Name(), "lower", lower.volume, "upper", upper.volume, "error", err)
	}
	return trees
}

// deltaWait limits the wait for the pool's metadata, which one process reads at a time. A
// scan of a large pool can take longer than a walk.
const deltaWait = 10 * time.Second

func (s *Snapshotter) changed(ctx context.Context, lower, upper shownTree) (names changes.Names, err error) {
	below, err := os.Open(lower.node)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, below.Close()) }()
	above, err := os.Open(upper.node)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, above.Close()) }()
	bounded, cancel := context.WithTimeout(ctx, deltaWait)
	defer cancel()
	delta, err := s.pool.VolumeDelta(bounded, lower.volume, upper.volume, false)
	if err != nil {
		return nil, err
	}
	return ext4.Changed(ctx, below, above, ranges(delta))
}

func ranges(delta thinpool.VolumeDelta) iter.Seq[ext4.Range] {
	return func(yield func(ext4.Range) bool) {
		for _, d := range delta.Differences {
			if !yield(ext4.Range{Offset: d.Virtual, Length: d.Length}) {
				return
			}
		}
	}
}

package snapshots

import (
	"context"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/thinpool"
)

// Pair is two snapshots to be compared.
type Pair struct {
	s            *Snapshotter
	lower, upper *side // lower is nil for an empty tree
	related      bool
}

// side is a snapshot that a mount shows.
type side struct {
	name string
	Record
	node string
}

// Pair finds the snapshots behind mounts that [Snapshotter.Mounts], Prepare or View
// returned. No lower mounts mean an empty tree. The kind of the error is Unsupported if
// a mount is not a snapshot of this namespace, and NotFound if the snapshot was
// removed.
func (s *Snapshotter) Pair(ctx context.Context, lower, upper []mount.Mount) (*Pair, error) {
	for _, mounts := range [][]mount.Mount{lower, upper} {
		if err := s.checkMounts(mounts); err != nil {
			return nil, err
		}
	}
	if len(upper) == 0 {
		return nil, foreign("no mounts")
	}
	p := &Pair{s: s}
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		if p.upper, err = s.behind(tx, upper[0]); err != nil {
			return err
		}
		if len(lower) == 0 {
			return nil
		}
		if p.lower, err = s.behind(tx, lower[0]); err == nil {
			p.related, err = s.related(tx, p.lower.Record, p.upper.Record)
		}
		return err
	})
	if err != nil {
		return nil, failed("compare", p.object(upper), err)
	}
	return p, nil
}

func (p *Pair) object(mounts []mount.Mount) string {
	if p.upper != nil {
		return p.upper.name
	}
	return mounts[0].Source
}

// checkMounts returns an error for mounts that cannot be a snapshot of the pool. It
// reads nothing.
func (s *Snapshotter) checkMounts(mounts []mount.Mount) error {
	if len(mounts) > 1 {
		return foreign("several mounts")
	}
	prefix := s.nodeOf(Record{Volume: volumeName(""), For: ForContainerd})
	for _, m := range mounts {
		if !strings.HasPrefix(m.Source, prefix) {
			return foreign("the mount of " + quoted(m.Source))
		}
	}
	return nil
}

func foreign(what string) error {
	return &Error{
		Op:     "compare",
		Object: what,
		Kind:   fault.Unsupported,
		Detail: "it is not a snapshot of this namespace",
	}
}

func (s *Snapshotter) nodeOf(r Record) string {
	return s.pool.NodeOf(thinpool.VolumeRecord{Name: r.Volume, For: r.For})
}

// behind finds the snapshot that a mount shows. It prefers a committed snapshot to its
// views, which show the same device.
func (s *Snapshotter) behind(tx *thinpool.Tx, m mount.Mount) (*side, error) {
	var found *side
	for entry, err := range thinpool.Documents[Record](tx, kindSnapshots, "") {
		if err != nil {
			return nil, err
		}
		r := entry.Record
		if s.nodeOf(r) != m.Source || found != nil && r.Kind != core.KindCommitted {
			continue
		}
		namespace, name := splitNamespace(entry.Key)
		if namespace != s.options.Namespace {
			return nil, foreign("the mount of " + quoted(m.Source))
		}
		found = &side{name: name, Record: r, node: m.Source}
	}
	if found == nil {
		return nil, &Error{
			Op:     "compare",
			Object: "the snapshot at " + quoted(m.Source),
			Kind:   fault.NotFound,
			Detail: "it was removed or committed in the meantime",
		}
	}
	return found, nil
}

// related reports whether one snapshot was made of the other, at any number of commits
// between them.
func (s *Snapshotter) related(tx *thinpool.Tx, a, b Record) (bool, error) {
	for _, pair := range [2][2]Record{{a, b}, {b, a}} {
		for at := pair[1]; ; {
			if at.Volume == pair[0].Volume {
				return true, nil
			}
			if at.ParentID == "" {
				break
			}
			parent, err := s.find(tx, "compare", at.Parent)
			if missing(err) || err == nil && parent.ID != at.ParentID {
				break
			}
			if err != nil {
				return false, err
			}
			at = parent
		}
	}
	return false, nil
}

// Upper returns the name of the newer snapshot.
func (p *Pair) Upper() string { return p.upper.name }

// Read calls f while both trees can be read. The tree of an active snapshot is as it
// was at one moment, also while processes write to it.
func (p *Pair) Read(ctx context.Context, f func(Trees) error) error {
	err := p.s.read(ctx, p.upper, func(upper shownTree) error {
		if p.lower == nil {
			return f(Trees{Upper: upper.root})
		}
		return p.s.read(ctx, p.lower, func(lower shownTree) error {
			return f(p.s.comparison(ctx, lower, upper, p.related))
		})
	})
	return failed("compare", p.upper.name, err)
}

func (s *Snapshotter) read(ctx context.Context, one *side, f func(shownTree) error) error {
	if one.Kind == core.KindActive {
		err := s.withFrozen(ctx, one.Record, f)
		s.reaper.do(func() {}, s.noteReaped)
		if gone(err) {
			err = refused("compare", one.name, fault.NotFound, "it was removed or committed in the meantime")
		}
		return err
	}
	err := s.withUnwritten(ctx, one.Record, one.node, f)
	if one.Kind == core.KindCommitted {
		// The views that have shown it may have been removed in the meantime.
		s.reaper.do(func() { s.deactivate(s.reaper.ctx, one.name, one.Record) }, func() {})
	}
	return err
}

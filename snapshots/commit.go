package snapshots

import (
	"cmp"
	"context"
	"errors"
	"strings"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/internal/names"
	"thinctl/thinpool"
)

// Commit makes an active snapshot permanent under a name: it is never written again.
// Everything written to it before is durable first. The committed snapshot has the
// labels of the options only. If a process still has the snapshot mounted, that process
// keeps a copy without a record, and the snapshot is as it was at this moment.
//
// The option WithParent is accepted if it names the parent that the snapshot has.
// Moving a snapshot to another parent is not supported.
func (s *Snapshotter) Commit(ctx context.Context, name, key string, opts ...core.Opt) error {
	const op = "commit"
	if err := checkName(op, "name", name); err != nil {
		return err
	}
	if err := checkName(op, "key", key); err != nil {
		return err
	}
	options, err := applied(op, name, opts)
	if err != nil {
		return err
	}
	return failed(op, key, s.commit(ctx, name, key, options))
}

func (s *Snapshotter) commit(ctx context.Context, name, key string, options core.Info) error {
	const op = "commit"
	var (
		r      Record
		volume thinpool.VolumeRecord
	)
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		if r, err = s.find(tx, op, key); err != nil {
			return err
		}
		if r.Kind != core.KindActive {
			return refused(op, key, fault.Refused, "it is not active, but "+strings.ToLower(r.Kind.String()))
		}
		if options.Parent != "" && options.Parent != r.Parent {
			return refused(op, key, fault.Unsupported,
				"its parent is "+quoted(r.Parent)+" and cannot become "+quoted(options.Parent))
		}
		if err := s.free(tx, op, name); err != nil {
			return err
		}
		volume, err = tx.Volume(r.Volume)
		if errors.Is(err, fault.NotFound) {
			return refused(op, key, fault.NotFound, "its volume "+r.Volume+" is gone")
		}
		return err
	})
	if err != nil {
		return err
	}
	if r.FileSystem != 0 && r.FileSystem < r.Size {
		if _, err := s.ready(ctx, key, r); err != nil { // killed before it had grown
			return err
		}
	}
	all, err := s.quiet(ctx, key, r, volume)
	if err != nil {
		return err
	}
	var refusal error
	move := func(tx *thinpool.Tx, volume thinpool.VolumeRecord) error {
		refusal = s.move(tx, name, key, r, volume.Name, all, options.Labels)
		return refusal
	}
	keep := thinpool.Keep{For: r.For, ReadOnly: true, With: move}
	_, err = s.pool.RenameVolume(ctx, r.Volume, r.Volume, thinpool.RenameOptions{Was: r.For, Keep: keep})
	if refusal == nil && errors.Is(err, thinpool.ErrOpen) {
		s.options.Log.Info("committed a snapshot that is in use",
			"pool", s.pool.Name(), "snapshot", key, "volume", r.Volume)
		err = s.replaceOpen(ctx, r, keep)
	}
	switch {
	case refusal != nil:
		return refusal
	case gone(err):
		return refused(op, key, fault.NotFound, "it was removed or committed in the meantime")
	case err == nil:
		s.forgetTarget(r.Volume)
	}
	return err
}

// replaceOpen commits a snapshot of a volume that a process has open, and leaves the
// volume to that process. If it is killed in between, the volume has no document, and
// Recover removes it.
func (s *Snapshotter) replaceOpen(ctx context.Context, r Record, keep thinpool.Keep) error {
	name := volumeName(names.Random(16))
	if _, err := s.pool.Snapshot(ctx, r.Volume, name, thinpool.SnapshotOptions{Keep: keep}); err != nil {
		return err
	}
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	return s.removeVolume(ctx, r, nil)
}

// CommitCopy makes a committed snapshot of the present content of an active one, which
// stays. Its file system is frozen for a moment if it is mounted; otherwise it must not
// need its journal. Errors of the pool are returned as they are.
func (s *Snapshotter) CommitCopy(ctx context.Context, key string, n NewSnapshot) error {
	const op = "commit"
	was, err := s.get(ctx, op, key)
	if err != nil {
		return err
	}
	var refusal error
	with := func(tx *thinpool.Tx, volume thinpool.VolumeRecord) error {
		r, err := s.find(tx, op, key)
		if err == nil && r.ID != was.ID {
			err = refused(op, key, fault.NotFound, "it was removed in the meantime")
		}
		if err == nil {
			n.Parent, n.FS, n.FileSystem = r.Parent, r.FS, r.FileSystem
			err = n.insertIn(tx, s, volume)
		}
		refusal = err
		return err
	}
	_, err = s.pool.Snapshot(ctx, was.Volume, n.Volume, thinpool.SnapshotOptions{
		Keep: thinpool.Keep{For: n.For, ReadOnly: true, With: with}})
	return cmp.Or(refusal, err)
}

// move writes the document of a snapshot that becomes committed.
func (s *Snapshotter) move(
	tx *thinpool.Tx,
	name, key string,
	was Record,
	volume string,
	all footprint,
	labels map[string]string,
) error {
	const op = "commit"
	r, err := s.find(tx, op, key)
	if err != nil {
		return err
	}
	if r.ID != was.ID || r.Kind != core.KindActive || r.Volume != was.Volume {
		return refused(op, key, fault.NotFound, "it was removed in the meantime")
	}
	if err := s.free(tx, op, name); err != nil {
		return err
	}
	if err := s.drop(tx, key, r); err != nil {
		return err
	}
	r.Kind, r.Volume, r.Labels = core.KindCommitted, volume, kept(labels)
	r.Created = s.now()
	r.Updated = r.Created
	r.All, r.Own = all, all.less(r.Below)
	if own, known := s.exact(was.Volume, all.Mapped); known {
		r.Own.Mapped = own
	}
	return s.put(tx, name, r)
}

// quiet makes sure that a snapshot can be read without its journal, and measures it.
func (s *Snapshotter) quiet(
	ctx context.Context,
	key string,
	r Record,
	volume thinpool.VolumeRecord,
) (footprint, error) {
	status, err := s.pool.StatusOf(ctx, volume)
	if err != nil {
		return footprint{}, err
	}
	if status.Active {
		return s.footprint(status, s.target(status.Volume))
	}
	// No process has mounted it since the host started. The host may have stopped in
	// the middle of a write.
	active, err := s.pool.ActivateVolume(ctx, r.Volume)
	if gone(err) {
		return footprint{}, refused("commit", key, fault.NotFound, "it was removed or committed in the meantime")
	}
	if err != nil {
		return footprint{}, err
	}
	if err := s.replay(ctx, r, active); err != nil {
		return footprint{}, err
	}
	return s.measure(ctx, active)
}

func (s *Snapshotter) replay(ctx context.Context, r Record, volume thinpool.Volume) error {
	needs, err := s.files.NeedsRecovery(volume.Node)
	if err != nil || !needs {
		return err
	}
	lock, err := s.LockVolume(ctx, r.Volume)
	if err != nil {
		return err
	}
	defer lock.Release()
	return s.mounted(ctx, r, func(target string) error { return s.files.Sync(ctx, target) })
}

package snapshots

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/containerd/containerd/v2/core/mount"
	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/internal/names"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// origin is what a snapshot begins as: its parent, or a template.
type origin struct {
	name       string // the parent's; "" for a template
	id         string
	volume     string
	fs         filesystem.Type
	size       units.Bytes
	fileSystem units.Bytes // 0 where it fills the volume
	all        footprint
}

// Prepare creates a snapshot to be written: a copy of its parent, or of an empty file
// system if parent is "". It returns how to mount the snapshot.
func (s *Snapshotter) Prepare(ctx context.Context, key, parent string, opts ...core.Opt) ([]mount.Mount, error) {
	return s.create(ctx, "prepare", core.KindActive, key, parent, opts)
}

// View creates a snapshot to be read, and returns how to mount it. Its device rejects
// writes. All views of a parent share the parent's own device, because a committed
// snapshot never changes.
func (s *Snapshotter) View(ctx context.Context, key, parent string, opts ...core.Opt) ([]mount.Mount, error) {
	return s.create(ctx, "view", core.KindView, key, parent, opts)
}

func (s *Snapshotter) create(
	ctx context.Context,
	op string,
	kind core.Kind,
	key, parent string,
	opts []core.Opt,
) ([]mount.Mount, error) {
	options, err := applied(op, key, opts)
	if err != nil {
		return nil, err
	}
	size, err := requestedSize(op, key, options.Labels)
	if err != nil {
		return nil, err
	}
	r, err := s.insertNew(ctx, op, kind, key, parent, CreateOptions{Size: size, Labels: options.Labels})
	if err != nil {
		return nil, failed(op, key, err)
	}
	mounts, err := s.ready(ctx, key, r)
	if err != nil {
		return nil, errors.Join(failed(op, key, err), s.rollBack(ctx, key, r))
	}
	return mounts, nil
}

// CreateOptions are the options of Create.
type CreateOptions struct {
	// Volume is the name of the volume, and For its purpose. They may be empty.
	Volume, For string
	// Size is the size of the volume; zero means that of the parent, which is the least.
	Size   units.Bytes
	Labels map[string]string
	// With writes the caller's documents in the same transaction. Its error cancels the
	// creation, and is returned as it is.
	With func(*thinpool.Tx, Record) error
}

// Create is Prepare for a snapshot that is activated when it is used. Errors of the pool
// are returned as they are.
func (s *Snapshotter) Create(ctx context.Context, key, parent string, o CreateOptions) (Record, error) {
	return s.insertNew(ctx, "create", core.KindActive, key, parent, o)
}

// insertNew creates the volume of a snapshot with its document.
func (s *Snapshotter) insertNew(
	ctx context.Context,
	op string,
	kind core.Kind,
	key, parent string,
	o CreateOptions,
) (Record, error) {
	if err := checkName(op, "key", key); err != nil {
		return Record{}, err
	}
	on, err := s.findOrigin(ctx, op, key, parent, o.Size)
	if err != nil {
		return Record{}, err
	}
	id := names.Random(16)
	r := Record{
		ID:         id,
		Kind:       kind,
		Volume:     cmp.Or(o.Volume, volumeName(id)),
		For:        cmp.Or(o.For, ForContainerd),
		Parent:     parent,
		ParentID:   on.id,
		Labels:     kept(o.Labels),
		FS:         on.fs,
		Size:       on.size,
		FileSystem: on.fileSystem,
		Below:      on.all,
	}
	if kind == core.KindActive && o.Size > on.size {
		r.Size = o.Size
		if r.FileSystem == 0 {
			r.FileSystem = on.size
		}
	}
	if kind == core.KindView && parent != "" {
		r.Volume = on.volume
		return r, s.share(ctx, op, key, on, r)
	}
	return s.copy(ctx, op, key, on, r, o.With)
}

// findOrigin finds the parent, or the template if there is no parent. An existing key
// is rejected before any work is done, and checked again inside the transaction.
func (s *Snapshotter) findOrigin(ctx context.Context, op, key, parent string, size units.Bytes) (on origin, err error) {
	err = s.pool.View(ctx, func(tx *thinpool.Tx) error {
		if err := s.free(tx, op, key); err != nil || parent == "" {
			return err
		}
		p, err := s.parent(tx, op, key, parent)
		on = origin{
			name:       parent,
			id:         p.ID,
			volume:     p.Volume,
			fs:         p.FS,
			size:       p.Size,
			fileSystem: p.FileSystem,
			all:        p.All,
		}
		return err
	})
	if err != nil || parent != "" {
		return on, err
	}
	return s.baseTemplate(ctx, size)
}

func (s *Snapshotter) parent(tx *thinpool.Tx, op, key, parent string) (Record, error) {
	if err := checkName(op, "parent", parent); err != nil {
		return Record{}, err
	}
	p, err := s.find(tx, op, parent)
	switch {
	case missing(err):
		return p, refused(op, key, fault.NotFound, "there is no snapshot "+quoted(parent)+" to be its parent")
	case err == nil && p.Kind != core.KindCommitted:
		return p, refused(op, key, fault.Invalid, "its parent "+quoted(parent)+" is not committed")
	}
	return p, err
}

// copy creates the volume with its document.
func (s *Snapshotter) copy(
	ctx context.Context,
	op, key string,
	on origin,
	r Record,
	more func(*thinpool.Tx, Record) error,
) (Record, error) {
	var refusal error
	with := func(tx *thinpool.Tx, _ thinpool.VolumeRecord) error {
		r.Created = s.now()
		r.Updated = r.Created
		if refusal = s.insert(tx, op, key, on, r); refusal == nil && more != nil {
			refusal = more(tx, r)
		}
		return refusal
	}
	_, err := s.pool.Snapshot(ctx, on.volume, r.Volume, thinpool.SnapshotOptions{Size: r.Size,
		Keep: thinpool.Keep{For: r.For, ReadOnly: r.Kind == core.KindView, With: with}})
	switch {
	case refusal != nil:
		return r, refusal
	case gone(err) && on.name != "":
		return r, refused(op, key, fault.NotFound, "its parent "+quoted(on.name)+" was removed in the meantime")
	case gone(err):
		s.forgetTemplates()
	}
	return r, err
}

// insert writes the document of a new snapshot, if the key is still free and the parent
// still exists.
func (s *Snapshotter) insert(tx *thinpool.Tx, op, key string, on origin, r Record) error {
	if err := s.free(tx, op, key); err != nil {
		return err
	}
	if on.name != "" {
		p, err := s.parent(tx, op, key, on.name)
		if err != nil {
			return err
		}
		if p.ID != on.id {
			return refused(op, key, fault.NotFound, "its parent "+quoted(on.name)+" was removed in the meantime")
		}
		if r.shares() {
			p.Views++
			if err := s.put(tx, on.name, p); err != nil {
				return err
			}
		}
	}
	return s.put(tx, key, r)
}

// share writes the document of a view, which has no volume of its own.
func (s *Snapshotter) share(ctx context.Context, op, key string, on origin, r Record) error {
	return s.pool.Update(ctx, func(tx *thinpool.Tx) error {
		r.Created = s.now()
		r.Updated = r.Created
		return s.insert(tx, op, key, on, r)
	})
}

// rollBack removes a snapshot that could not be activated. No caller has seen it.
func (s *Snapshotter) rollBack(ctx context.Context, key string, r Record) error {
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	err := s.remove(ctx, "roll back", key, r.ID)
	if missing(err) {
		return nil
	}
	return err
}

// baseTemplate returns the empty file system of a size, or of the default size if it is
// zero. Above the default size it returns the one of the default size, and the caller
// grows the copy: otherwise each requested size would keep a template.
func (s *Snapshotter) baseTemplate(ctx context.Context, size units.Bytes) (origin, error) {
	base := s.options.Size
	if base == 0 {
		pool, err := s.pool.Record(ctx)
		if err != nil {
			return origin{}, err
		}
		base = pool.BaseSize
	}
	if size == 0 || size > base {
		size = base
	}
	size = min(max(size, minSize(s.options.FS)), base)
	key := string(s.options.FS) + size.Exact()
	s.cached.Lock()
	on, known := s.cached.templates[key]
	s.cached.Unlock()
	if known {
		return on, nil
	}
	t, err := s.Template(ctx, s.options.FS, size)
	if err != nil {
		return origin{}, err
	}
	on = origin{volume: TemplateVolume(t.Key), fs: t.FS, size: t.Size}
	if on.all, err = s.measureIdle(ctx, on.volume); err != nil {
		return origin{}, err
	}
	s.cached.Lock()
	s.cached.templates[key] = on
	s.cached.Unlock()
	return on, nil
}

func (s *Snapshotter) forgetTemplates() {
	s.cached.Lock()
	defer s.cached.Unlock()
	clear(s.cached.templates)
}

// measureIdle measures a volume that is not mounted, and deactivates it. One process at
// a time does this. A command that deactivates unused devices may come in between.
func (s *Snapshotter) measureIdle(ctx context.Context, volume string) (all footprint, err error) {
	lock, err := s.LockVolume(ctx, volume)
	if err != nil {
		return all, err
	}
	defer lock.Release()
	const tries = 5
	for n := 1; ; n++ {
		var active thinpool.Volume
		if active, err = s.pool.ActivateVolume(ctx, volume); err != nil {
			return all, err
		}
		all, err = s.measure(ctx, active)
		if put := s.pool.DeactivateIfClosed(ctx, volume); !errors.Is(put, thinpool.ErrOpen) {
			err = errors.Join(err, put)
		}
		away := errors.Is(err, fs.ErrNotExist) || errors.Is(err, thinpool.ErrOpen)
		if !away || n == tries {
			return all, err
		}
	}
}

// measure returns the footprint of an active volume that is not mounted.
func (s *Snapshotter) measure(ctx context.Context, volume thinpool.Volume) (footprint, error) {
	status, err := s.pool.VolumeStatus(ctx, volume.Name)
	if err == nil && !status.Active {
		err = fmt.Errorf("%w: the device of %s was deactivated while it was measured", thinpool.ErrOpen, volume.Name)
	}
	if err != nil {
		return footprint{}, err
	}
	return s.footprint(status, "")
}

// footprint returns the space and inodes of an active volume. target is its mount
// point, or "" if that is unknown.
func (s *Snapshotter) footprint(status thinpool.VolumeStatus, target string) (footprint, error) {
	inodes, err := s.files.Inodes(status.Node, target)
	return footprint{Mapped: status.Mapped, Inodes: inodes}, err
}

package layers

import (
	"context"
	"errors"

	"thinctl/fault"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// base is what a container is made on: a layer, or the template of an empty image.
type base struct {
	layer  Layer // zero for an empty image
	fs     filesystem.Type
	size   units.Bytes
	key    string // of its init
	volume string // "" for a template
}

func (s *Store) base(ctx context.Context, layer string, fs filesystem.Type, size units.Bytes) (base, error) {
	if layer == "" {
		fs, size, err := s.shape(ctx, fs, size)
		return base{fs: fs, size: size, key: emptyKey(fs, size)}, err
	}
	found, err := s.Layer(ctx, layer)
	return base{layer: found, fs: found.FS, size: found.Volume, key: found.ID, volume: layerVolume(found.ID)}, err
}

// initOn returns the init of a base. The first caller makes it, others wait.
func (s *Store) initOn(ctx context.Context, g base) (Init, error) {
	init, found, err := s.findInit(ctx, g.key)
	if err != nil || found {
		return init, err
	}
	lock, err := s.snaps.LockObject(ctx, initVolume(g.key))
	if err != nil {
		return init, err
	}
	defer lock.Release()
	if init, found, err = s.findInit(ctx, g.key); err != nil || found {
		return init, err
	}
	if err := s.makeInit(ctx, g); err != nil {
		return init, failed("prepare", "the init of "+short(g.key), err)
	}
	init, _, err = s.findInit(ctx, g.key)
	return init, err
}

// findInit looks up an init. It also removes what leases of killed processes left.
func (s *Store) findInit(ctx context.Context, key string) (init Init, found bool, err error) {
	err = s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		init, found, err = initIn(tx, key)
		return err
	})
	return init, found, errors.Join(err, s.snaps.ClearLeases(ctx))
}

func (s *Store) makeInit(ctx context.Context, g base) error {
	held := []string{}
	if g.layer.ID != "" {
		held = append(held, g.layer.ID)
	} else {
		t, err := s.snaps.Template(ctx, g.fs, g.size)
		if err != nil {
			return err
		}
		g.volume = snapshots.TemplateVolume(t.Key)
	}
	l, err := s.snaps.Lease(ctx, held, nil)
	if err != nil {
		return err
	}
	if err := s.fillInit(ctx, l, g); err != nil {
		err = s.snaps.WriteFailed(ctx, "prepare", "the init of "+short(g.key), err)
		return errors.Join(err, l.End(ctx))
	}
	return l.End(ctx)
}

func (s *Store) fillInit(ctx context.Context, l *snapshots.Lease, g base) error {
	if err := l.Copy(ctx, g.volume, g.size); err != nil {
		return err
	}
	target, err := l.Mount(ctx, g.fs, false)
	if err != nil {
		return err
	}
	if err := putStubs(target); err != nil {
		return err
	}
	if err := s.files.Sync(ctx, target); err != nil {
		return err
	}
	volume := initVolume(g.key)
	init := snapshots.NewSnapshot{Key: volume, Volume: volume, For: snapshots.ForLayer,
		FS: g.fs, FileSystem: g.layer.FileSystem}
	if g.layer.ID != "" {
		init.Parent = layerVolume(g.layer.ID)
	}
	return l.CommitLast(ctx, init)
}

// overtaken reports whether a snapshot or a volume was removed by another process.
func overtaken(err error) bool {
	var own *Error
	return errors.Is(err, thinpool.ErrNoVolume) ||
		errors.As(err, &own) && own.Kind == fault.NotFound //nolint:errorlint // the kind of the snapshots alone
}

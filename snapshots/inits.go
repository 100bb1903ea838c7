package snapshots

import (
	"context"
	"errors"

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
	volume string
}

func (s *Store) base(ctx context.Context, layer string, fs filesystem.Type, size units.Bytes) (base, error) {
	if layer == "" {
		fs, size, err := s.shape(ctx, fs, size)
		key := templateKey(fs, size)
		return base{fs: fs, size: size, key: key, volume: templateVolume(key)}, err
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
	lock, err := s.lock(ctx, lockInit, g.key)
	if err != nil {
		return init, err
	}
	defer lock.Release()
	if init, found, err = s.findInit(ctx, g.key); err != nil || found {
		return init, err
	}
	init = Init{
		Key:        g.key,
		Layer:      g.layer.ID,
		FS:         g.fs,
		Volume:     g.size,
		FileSystem: g.layer.FileSystem,
		Created:    s.now(),
	}
	return init, failed("prepare", "the init of "+short(g.key), s.makeInit(ctx, g, init))
}

// findInit looks up an init. It also removes what leases of killed processes left.
func (s *Store) findInit(ctx context.Context, key string) (init Init, found bool, err error) {
	var leases []Lease
	err = s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		if leases, err = documents[Lease](tx, kindLeases); err != nil {
			return err
		}
		init, found, err = document[Init](tx, kindInits, key)
		return err
	})
	return init, found, errors.Join(err, s.clearDead(ctx, leases))
}

func (s *Store) makeInit(ctx context.Context, g base, init Init) error {
	held := []string{}
	if g.layer.ID != "" {
		held = append(held, g.layer.ID)
	} else if _, err := s.template(ctx, g.fs, g.size); err != nil {
		return err
	}
	w, err := s.beginLease(ctx, held, nil)
	if err != nil {
		return err
	}
	if err := w.prepare(ctx, g, init); err != nil {
		err = s.writeFailed(ctx, "prepare", "the init of "+short(g.key), err)
		return errors.Join(err, w.end(ctx))
	}
	return w.end(ctx)
}

func (w *lease) prepare(ctx context.Context, g base, init Init) error {
	if err := w.copy(ctx, g.volume, g.size); err != nil {
		return err
	}
	target, err := w.mount(ctx, g.fs, false)
	if err != nil {
		return err
	}
	if err := putStubs(target); err != nil {
		return err
	}
	if err := w.s.files.Sync(ctx, target); err != nil {
		return err
	}
	return w.keep(ctx, initVolume(init.Key), forLayer, func(tx *thinpool.Tx) error {
		return tx.Put(kindInits, init.Key, init)
	})
}

// originGone reports whether the volume to be copied was removed.
func originGone(err error) bool { return errors.Is(err, thinpool.ErrNoVolume) }

package snapshots

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// shape returns the type and size of a base layer, with the defaults filled in.
func (s *Store) shape(ctx context.Context, fs filesystem.Type, size units.Bytes) (filesystem.Type, units.Bytes, error) {
	if size == 0 {
		record, err := s.pool.Record(ctx)
		if err != nil {
			return "", 0, err
		}
		size = record.BaseSize
	}
	if fs == "" {
		fs = s.options.FS
	}
	if fs == "" {
		fs = filesystem.Ext4
	}
	return fs, size, nil
}

// Template returns the empty file system of a type and a size, for packages with
// snapshots of their own. The name of its volume is [TemplateVolume] of its key. It is
// never written and never removed.
func (s *Store) Template(ctx context.Context, fs filesystem.Type, size units.Bytes) (Template, error) {
	return s.template(ctx, fs, size)
}

// template returns the empty file system of a type and a size. The first caller makes
// it, others wait.
func (s *Store) template(ctx context.Context, fs filesystem.Type, size units.Bytes) (Template, error) {
	key := templateKey(fs, size)
	t, found, err := s.findTemplate(ctx, key)
	if err != nil || found {
		return t, err
	}
	lock, err := s.lock(ctx, lockTemplate, key)
	if err != nil {
		return t, err
	}
	defer lock.Release()
	if t, found, err = s.findTemplate(ctx, key); err != nil || found {
		return t, err
	}
	t = Template{Key: key, FS: fs, Size: size, Created: s.now()}
	return t, failed("format", "template "+key, s.makeTemplate(ctx, t))
}

func (s *Store) findTemplate(ctx context.Context, key string) (t Template, found bool, err error) {
	err = s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		t, found, err = document[Template](tx, kindTemplates, key)
		return err
	})
	return t, found, err
}

func (s *Store) makeTemplate(ctx context.Context, t Template) error {
	w, err := s.beginLease(ctx, nil, nil)
	if err != nil {
		return err
	}
	if err := w.format(ctx, t); err != nil {
		err = s.writeFailed(ctx, "format", "template "+t.Key, err)
		return errors.Join(err, w.end(ctx))
	}
	return w.end(ctx)
}

func (w *lease) format(ctx context.Context, t Template) error {
	w.made = true
	_, err := w.s.pool.CreateVolume(
		ctx,
		w.volume(),
		thinpool.VolumeOptions{Size: t.Size, Keep: thinpool.Keep{For: forLease}},
	)
	if err != nil {
		return err
	}
	volume, err := w.s.pool.ActivateVolume(ctx, w.volume())
	if err != nil {
		return err
	}
	if err := w.s.files.Format(
		ctx,
		volume.Node,
		filesystem.FormatOptions{Type: t.FS, Args: w.s.options.FormatArgs},
	); err != nil {
		return err
	}
	if err := w.s.files.Slim(ctx, volume.Node); err != nil {
		return err
	}
	target, err := w.mount(ctx, t.FS, false)
	if err != nil {
		return err
	}
	// An image contains what its layers contain, and nothing else.
	if err := removeDir(filepath.Join(target, "lost+found")); err != nil {
		return err
	}
	if err := os.Chmod(target, 0o755); err != nil {
		return err
	}
	if err := w.s.files.Sync(ctx, target); err != nil {
		return err
	}
	return w.keep(ctx, templateVolume(t.Key), forTemplate, func(tx *thinpool.Tx) error {
		return tx.Put(kindTemplates, t.Key, t)
	})
}

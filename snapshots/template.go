package snapshots

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// Template is an empty file system, made once for each type and size.
type Template struct {
	Key     string          `json:"key"`
	FS      filesystem.Type `json:"fs"`
	Size    units.Bytes     `json:"size"`
	Created time.Time       `json:"created"`
}

func templateKey(fs filesystem.Type, size units.Bytes) string {
	return fmt.Sprintf("%s-%d", fs, uint64(size))
}

// TemplateVolume returns the name of a template's volume.
func TemplateVolume(key string) string { return forTemplate + "-" + key }

// Template returns the empty file system of a type and a size. The first caller makes
// it, others wait. It is never written and never removed.
func (s *Snapshotter) Template(ctx context.Context, fs filesystem.Type, size units.Bytes) (Template, error) {
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
	return t, wrapped("format", "template "+key, s.makeTemplate(ctx, t))
}

func (s *Snapshotter) findTemplate(ctx context.Context, key string) (t Template, found bool, err error) {
	err = s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		t, found, err = thinpool.Document[Template](tx, kindTemplates, key)
		return err
	})
	return t, found, err
}

func (s *Snapshotter) makeTemplate(ctx context.Context, t Template) error {
	l, err := s.Lease(ctx, nil, nil)
	if err != nil {
		return err
	}
	if err := l.format(ctx, t); err != nil {
		err = s.WriteFailed(ctx, "format", "template "+t.Key, err)
		return errors.Join(err, l.End(ctx))
	}
	return l.End(ctx)
}

func (l *Lease) format(ctx context.Context, t Template) error {
	l.made = true
	_, err := l.s.pool.CreateVolume(
		ctx,
		l.Volume(),
		thinpool.VolumeOptions{Size: t.Size, Keep: thinpool.Keep{For: forLease}},
	)
	if err != nil {
		return err
	}
	volume, err := l.s.pool.ActivateVolume(ctx, l.Volume())
	if err != nil {
		return err
	}
	if err := l.s.files.Format(
		ctx,
		volume.Node,
		filesystem.FormatOptions{Type: t.FS, Args: l.s.options.FormatArgs},
	); err != nil {
		return err
	}
	if err := l.s.files.Slim(ctx, volume.Node); err != nil {
		return err
	}
	target, err := l.Mount(ctx, t.FS, false)
	if err != nil {
		return err
	}
	// An image contains what its layers contain, and nothing else.
	if err := RemoveDir(filepath.Join(target, "lost+found")); err != nil {
		return err
	}
	if err := os.Chmod(target, 0o755); err != nil {
		return err
	}
	if err := l.s.files.Sync(ctx, target); err != nil {
		return err
	}
	put := func(tx *thinpool.Tx, _ thinpool.VolumeRecord) error { return tx.Put(kindTemplates, t.Key, t) }
	return l.become(ctx, TemplateVolume(t.Key), forTemplate, put)
}

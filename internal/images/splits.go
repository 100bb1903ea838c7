package images

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"thinctl/fault"
	"thinctl/internal/layers"
)

const splitSuffix = ".split.gz"

// splitPath returns the path of a layer's split. While the file is written, its name has a
// dot in front and a suffix (disk.WriteFile).
func (s *Store) splitPath(layer string) string {
	return filepath.Join(s.pool.LayersDir(), layer+splitSuffix)
}

// dropSplits removes the splits, complete or not, of layers that do not exist. The lock of
// a layer is held from before its split is written until the layer is recorded.
func (s *Store) dropSplits(ctx context.Context, layers []string) error {
	var faults []error
	for _, id := range layers {
		faults = append(faults, s.layers.WithLayerLock(ctx, id, func() error { return s.dropSplit(ctx, id) }))
	}
	return errors.Join(faults...)
}

// dropLeft removes the split of a layer whose creation has failed. It also works if ctx
// has ended.
func (s *Store) dropLeft(ctx context.Context, layer string) error {
	const bound = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bound)
	defer cancel()
	return s.dropSplits(ctx, []string{layer})
}

func (s *Store) dropSplit(ctx context.Context, id string) error {
	paths, err := filepath.Glob(filepath.Join(s.pool.LayersDir(), "."+id+splitSuffix+"-*"))
	if err != nil {
		return err
	}
	_, err = s.layers.Layer(ctx, id)
	if errors.Is(err, fault.NotFound) {
		paths, err = append(paths, s.splitPath(id)), nil
	}
	for _, path := range paths {
		if removed := os.Remove(path); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	return err
}

// Recover removes the remains of killed processes: unfinished layers, views, and splits of
// layers that were not recorded.
func (s *Store) Recover(ctx context.Context) error {
	if err := s.layers.Recover(ctx); err != nil {
		return err
	}
	layers, err := s.layers.Layers(ctx)
	if err != nil {
		return err
	}
	return errors.Join(s.forgetBlobs(ctx, layers), s.sweepSplits(ctx, layers))
}

// sweepSplits removes the splits of layers that were not recorded.
func (s *Store) sweepSplits(ctx context.Context, layers []layers.Layer) error {
	entries, err := os.ReadDir(s.pool.LayersDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, layer := range layers {
		needed[layer.ID+splitSuffix] = true
	}
	var left []string
	for _, entry := range entries {
		id, _, ours := strings.Cut(strings.TrimPrefix(entry.Name(), "."), splitSuffix)
		if ours && !needed[entry.Name()] {
			left = append(left, id)
		}
	}
	return s.dropSplits(ctx, left)
}

package images

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"thinctl/snapshots"
)

const splitSuffix = ".split.gz"

// splitPath is the file with the layer's split. One that is being written has a
// dot before its name and more after it (disk.WriteFile).
func (s *Store) splitPath(layer string) string {
	return filepath.Join(s.pool.LayersDir(), layer+splitSuffix)
}

// dropSplits removes what was written of the splits of layers that are not
// there. Whoever makes a layer holds its lock from before its split is written
// until it counts.
func (s *Store) dropSplits(ctx context.Context, layers []string) error {
	var faults []error
	for _, id := range layers {
		faults = append(faults, s.layers.WithLayerLock(ctx, id, func() error { return s.dropSplit(ctx, id) }))
	}
	return errors.Join(faults...)
}

// dropLeft is dropSplits for a layer whose making has failed, perhaps since ctx
// has ended.
func (s *Store) dropLeft(ctx context.Context, layer string) error {
	const bound = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bound)
	defer cancel()
	return s.dropSplits(ctx, []string{layer})
}

func (s *Store) dropSplit(ctx context.Context, id string) error {
	dead, err := filepath.Glob(filepath.Join(s.pool.LayersDir(), "."+id+splitSuffix+"-*"))
	if err != nil {
		return err
	}
	_, err = s.layers.Layer(ctx, id)
	if errors.Is(err, snapshots.ErrNotFound) {
		dead, err = append(dead, s.splitPath(id)), nil
	}
	for _, path := range dead {
		if removed := os.Remove(path); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	return err
}

// Recover clears away what killed processes left: works and views of the layers',
// and splits of layers that never came about.
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

// sweepSplits removes the splits of layers that never came about.
func (s *Store) sweepSplits(ctx context.Context, layers []snapshots.Layer) error {
	entries, err := os.ReadDir(s.pool.LayersDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	whole := map[string]bool{}
	for _, layer := range layers {
		whole[layer.ID+splitSuffix] = true
	}
	var left []string
	for _, entry := range entries {
		id, _, ours := strings.Cut(strings.TrimPrefix(entry.Name(), "."), splitSuffix)
		if ours && !whole[entry.Name()] {
			left = append(left, id)
		}
	}
	return s.dropSplits(ctx, left)
}

package images

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"thinctl/snapshots"
)

const splitSuffix = ".split.gz"

// splitPath is the file with the layer's split.
func (s *Store) splitPath(layer string) string {
	return filepath.Join(s.pool.LayersDir(), layer+splitSuffix)
}

// dropSplits removes the splits of layers that are not there. Whoever makes a
// layer holds its lock from before its split is written until it counts.
func (s *Store) dropSplits(ctx context.Context, layers []string) error {
	var faults []error
	for _, id := range layers {
		faults = append(faults, s.layers.WithLayerLock(ctx, id, func() error {
			_, err := s.layers.Layer(ctx, id)
			if !errors.Is(err, snapshots.ErrNotFound) {
				return err
			}
			err = os.Remove(s.splitPath(id))
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}))
	}
	return errors.Join(faults...)
}

// splits lists the ids that splits are there for.
func (s *Store) splits() ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(s.splitPath("")))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var ids []string
	for _, entry := range entries {
		if id, ok := strings.CutSuffix(entry.Name(), splitSuffix); ok {
			ids = append(ids, id)
		}
	}
	return ids, err
}

// Recover clears away what killed processes left: works and views of the layers',
// and splits of layers that never came about.
func (s *Store) Recover(ctx context.Context) error {
	if err := s.layers.Recover(ctx); err != nil {
		return err
	}
	splits, err := s.splits()
	if err != nil {
		return err
	}
	layers, err := s.layers.Layers(ctx)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, layer := range layers {
		there[layer.ID] = true
	}
	var orphans []string
	for _, id := range splits {
		if !there[id] {
			orphans = append(orphans, id)
		}
	}
	return s.dropSplits(ctx, orphans)
}

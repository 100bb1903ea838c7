package images

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"thinctl/internal/layers"
	"thinctl/snapshots"
	"thinctl/thinpool"
)

// Disagreement is an inconsistency of the documents.
type Disagreement struct {
	snapshots.Disagreement
	// Tar is the layer whose tar cannot be written again, or "". Its files exist.
	Tar string
}

// Check compares the documents of images, layers and containers with the volumes and with
// each other. It reports what no sequence of complete and undone operations can leave; see
// [layers.Store.Check].
func (s *Store) Check(ctx context.Context) ([]Disagreement, error) {
	below, err := s.layers.Check(ctx)
	if err != nil {
		return nil, err
	}
	var found []Disagreement
	for _, d := range below {
		found = append(found, Disagreement{Disagreement: d})
	}
	report := func(object, detail string) {
		found = append(found, Disagreement{Disagreement: snapshots.Disagreement{Object: object, Detail: detail}})
	}
	err = s.pool.View(ctx, func(tx *thinpool.Tx) error {
		all, err := layers.AllIn(tx)
		if err != nil {
			return err
		}
		exists := map[string]bool{}
		for _, layer := range all {
			exists[layer.ID] = true
			missing, err := s.splitMissing(layer)
			if err != nil {
				return err
			}
			if missing {
				report("layer "+layer.ID,
					"its tar cannot be written again, since "+s.splitPath(layer.ID)+" is missing; its files exist")
				found[len(found)-1].Tar = layer.ID
			}
		}
		return checkImages(tx, exists, report)
	})
	return found, err
}

// splitMissing reports whether a layer that was loaded has no split.
func (s *Store) splitMissing(layer layers.Layer) (bool, error) {
	if layer.DiffID == "" || layer.Base != "" {
		return false, nil
	}
	_, err := os.Stat(s.splitPath(layer.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

func checkImages(tx *thinpool.Tx, exists map[string]bool, report func(object, detail string)) error {
	images, err := list(tx)
	if err != nil {
		return err
	}
	keys := map[string]bool{}
	for _, image := range images {
		keys[image.Key] = true
		for _, id := range image.Layers {
			if !exists[id] {
				report("image "+image.Shown(), "its layer "+id+" is missing")
			}
		}
	}
	for entry, err := range thinpool.Documents[named](tx, kindNames, "") {
		if err != nil {
			return err
		}
		if !keys[entry.Record.Key] {
			report("name "+entry.Key, "its image is missing")
		}
	}
	for entry, err := range thinpool.Documents[string](tx, kindIDs, "") {
		if err != nil {
			return err
		}
		if !keys[entry.Record] {
			report("id "+entry.Key, "its image is missing")
		}
	}
	containers, err := layers.ContainersIn(tx)
	for _, c := range containers {
		if c.Image != "" && !keys[c.Image] {
			report("container "+c.Name, "its image "+c.Image+" is missing")
		}
	}
	return err
}

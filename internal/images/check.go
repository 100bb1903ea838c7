package images

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"thinctl/snapshots"
	"thinctl/thinpool"
)

// Check compares the documents of images, layers and containers with the volumes
// and with each other. It finds what no sequence of finished and undone
// operations can leave; see [snapshots.Store.Check].
func (s *Store) Check(ctx context.Context) ([]snapshots.Disagreement, error) {
	found, err := s.layers.Check(ctx)
	if err != nil {
		return nil, err
	}
	say := func(object, detail string) {
		found = append(found, snapshots.Disagreement{Object: object, Detail: detail})
	}
	err = s.pool.View(ctx, func(tx *thinpool.Tx) error {
		layers, err := snapshots.LayersIn(tx)
		if err != nil {
			return err
		}
		there := map[string]bool{}
		for _, layer := range layers {
			there[layer.ID] = true
			missing, err := s.splitMissing(layer)
			if err != nil {
				return err
			}
			if missing {
				found = append(found, snapshots.Disagreement{Object: "layer " + layer.ID, Tar: layer.ID,
					Detail: "its files are kept, and its tar cannot be written again: " + s.splitPath(layer.ID) + " is lost"})
			}
		}
		return checkImages(tx, there, say)
	})
	return found, err
}

// splitMissing looks for the split of a layer that came as a tar.
func (s *Store) splitMissing(layer snapshots.Layer) (bool, error) {
	if layer.DiffID == "" || layer.Base != "" {
		return false, nil
	}
	_, err := os.Stat(s.splitPath(layer.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

func checkImages(tx *thinpool.Tx, layers map[string]bool, say func(object, detail string)) error {
	images, err := list(tx)
	if err != nil {
		return err
	}
	keys := map[string]bool{}
	for _, image := range images {
		keys[image.Key] = true
		for _, id := range image.Layers {
			if !layers[id] {
				say("image "+image.Shown(), "its layer "+id+" is missing")
			}
		}
	}
	for entry, err := range thinpool.Documents[named](tx, kindNames, "") {
		if err != nil {
			return err
		}
		if !keys[entry.Record.Key] {
			say("name "+entry.Key, "it names no image")
		}
	}
	for entry, err := range thinpool.Documents[string](tx, kindIDs, "") {
		if err != nil {
			return err
		}
		if !keys[entry.Record] {
			say("id "+entry.Key, "it is no image's")
		}
	}
	containers, err := snapshots.ContainersIn(tx)
	for _, c := range containers {
		if c.Image != "" && !keys[c.Image] {
			say("container "+c.Name, "its image "+c.Image+" is missing")
		}
	}
	return err
}

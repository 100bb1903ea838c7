package images

import (
	"fmt"

	"thinctl/internal/layers"
	"thinctl/thinpool"
)

// RepairIn drops, in a transaction, the documents that refer to missing objects, as
// [Store.Check] reports them: see [layers.RepairIn]. It drops an image without one of
// its layers together with its names. It returns its actions.
func RepairIn(tx *thinpool.Tx) ([]string, error) {
	actions, err := layers.RepairIn(tx)
	if err != nil {
		return actions, err
	}
	found, err := layers.AllIn(tx)
	if err != nil {
		return actions, err
	}
	exists := map[string]bool{}
	for _, layer := range found {
		exists[layer.ID] = true
	}
	all, err := list(tx)
	if err != nil {
		return actions, err
	}
	keys := map[string]bool{}
	for _, image := range all {
		missing := ""
		for _, id := range image.Layers {
			if !exists[id] {
				missing = id
			}
		}
		if missing == "" {
			keys[image.Key] = true
			continue
		}
		actions = append(actions,
			fmt.Sprintf("drop the record of %s: its layer %s is gone; load or pull it again", image, short(missing)))
		if err := tx.Delete(kindImages, image.Key); err != nil {
			return actions, err
		}
	}
	if err := dropNames(tx, keys); err != nil {
		return actions, err
	}
	return actions, layers.ForgetImages(tx, func(key string) bool { return keys[key] })
}

// dropNames drops the names and ids of missing images.
func dropNames(tx *thinpool.Tx, keys map[string]bool) error {
	gone := map[thinpool.DocumentKind][]string{}
	for entry, err := range thinpool.Documents[named](tx, kindNames, "") {
		if err != nil {
			return err
		}
		if !keys[entry.Record.Key] {
			gone[kindNames] = append(gone[kindNames], entry.Key)
		}
	}
	for entry, err := range thinpool.Documents[string](tx, kindIDs, "") {
		if err != nil {
			return err
		}
		if !keys[entry.Record] {
			gone[kindIDs] = append(gone[kindIDs], entry.Key)
		}
	}
	for kind, names := range gone {
		for _, name := range names {
			if err := tx.Delete(kind, name); err != nil {
				return err
			}
		}
	}
	return nil
}

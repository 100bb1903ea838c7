package layers

import (
	"errors"
	"fmt"

	"thinctl/snapshots"
	"thinctl/thinpool"
)

// RepairIn removes, within a transaction, what [Store.Check] finds: see
// [snapshots.RepairIn]. It removes the documents of layers and containers without a
// snapshot, and gives a snapshot without a document a new one. It returns what it did.
func RepairIn(tx *thinpool.Tx) ([]string, error) {
	actions, err := snapshots.RepairIn(tx)
	if err != nil {
		return actions, err
	}
	d, err := readDocuments(tx)
	if err != nil {
		return actions, err
	}
	for _, object := range d.withoutSnapshot() {
		actions = append(actions, fmt.Sprintf("remove the record of %s: its volume or its parent's is gone", object))
	}
	for id := range d.layers {
		if !d.snapshots[layerVolume(id)] {
			err = errors.Join(err, tx.Delete(kindLayers, id))
		}
	}
	for id := range d.containers {
		if !d.snapshots[containerVolume(id)] {
			delete(d.containers, id)
			err = errors.Join(err, tx.Delete(kindContainers, id))
		}
	}
	for _, id := range d.unknownLayers() {
		actions = append(actions, "write a record for layer "+short(id))
		err = errors.Join(err, tx.Put(kindLayers, id, Layer{ID: id}))
	}
	for _, id := range d.unknownContainers() {
		c := Container{ID: id, Name: short(id)}
		d.containers[id] = c
		actions = append(actions, "write a record for container "+c.Name)
		err = errors.Join(err, tx.Put(kindContainers, id, c))
	}
	return actions, errors.Join(err, d.repairNames(tx))
}

// repairNames makes the reserved names those of the containers.
func (d documentSet) repairNames(tx *thinpool.Tx) error {
	wanted := map[string]string{}
	for id, c := range d.containers {
		wanted[c.Name] = id
	}
	var err error
	for name, id := range d.names {
		if wanted[name] != id {
			err = errors.Join(err, tx.Delete(kindNames, name))
		}
	}
	for name, id := range wanted {
		if d.names[name] != id {
			err = errors.Join(err, tx.Put(kindNames, name, id))
		}
	}
	return err
}

// ForgetImages removes references of containers to images that do not exist. The
// containers keep the name that they were made by.
func ForgetImages(tx *thinpool.Tx, there func(key string) bool) error {
	containers, err := ContainersIn(tx)
	for _, c := range containers {
		if err == nil && c.Image != "" && !there(c.Image) {
			c.Image = ""
			err = tx.Put(kindContainers, c.ID, c)
		}
	}
	return err
}

package layers

import (
	"context"
	"maps"
	"slices"
	"strings"

	"thinctl/snapshots"
	"thinctl/thinpool"
)

// Check compares the documents of layers and containers, and of all snapshots of the
// pool, with the volumes and with each other, at one moment.
func (s *Store) Check(ctx context.Context) ([]snapshots.Disagreement, error) {
	var found []snapshots.Disagreement
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		if found, err = snapshots.CheckIn(tx); err != nil {
			return err
		}
		more, err := checkIn(tx)
		found = append(found, more...)
		return err
	})
	return found, failed("check", "the layers of pool "+s.pool.Name(), err)
}

func checkIn(tx *thinpool.Tx) (found []snapshots.Disagreement, err error) {
	say := func(object, detail string) {
		found = append(found, snapshots.Disagreement{Object: object, Detail: detail})
	}
	d, err := readDocuments(tx)
	if err != nil {
		return nil, err
	}
	for _, object := range d.withoutSnapshot() {
		say(object, "its snapshot is missing")
	}
	for _, id := range d.unknownLayers() {
		say("snapshot "+layerVolume(id), "no layer has its id")
	}
	for _, id := range d.unknownContainers() {
		say("snapshot "+containerVolume(id), "no container has its id")
	}
	reserved := map[string]bool{}
	for name, id := range d.names {
		c, there := d.containers[id]
		if !there || c.Name != name {
			say("name "+name, "no container has it")
		}
		reserved[id] = there && c.Name == name || reserved[id]
	}
	for _, id := range slices.Sorted(maps.Keys(d.containers)) {
		if !reserved[id] {
			say("container "+d.containers[id].Name, "its name is not reserved")
		}
	}
	return found, nil
}

// documentSet is the documents of this package, with the keys of the local snapshots.
type documentSet struct {
	layers     map[string]Layer
	containers map[string]Container
	names      map[string]string // name -> container id
	snapshots  map[string]bool
}

func readDocuments(tx *thinpool.Tx) (documentSet, error) {
	d := documentSet{layers: map[string]Layer{}, containers: map[string]Container{},
		names: map[string]string{}, snapshots: map[string]bool{}}
	for entry, err := range snapshots.Records(tx, snapshots.Local, "") {
		if err != nil {
			return d, err
		}
		d.snapshots[entry.Key] = true
	}
	for entry, err := range thinpool.Documents[Layer](tx, kindLayers, "") {
		if err != nil {
			return d, err
		}
		d.layers[entry.Key] = entry.Record
	}
	for entry, err := range thinpool.Documents[Container](tx, kindContainers, "") {
		if err != nil {
			return d, err
		}
		d.containers[entry.Key] = entry.Record
	}
	for entry, err := range thinpool.Documents[string](tx, kindNames, "") {
		if err != nil {
			return d, err
		}
		d.names[entry.Key] = entry.Record
	}
	return d, nil
}

// withoutSnapshot returns the layers and containers that have no snapshot.
func (d documentSet) withoutSnapshot() (objects []string) {
	for _, id := range slices.Sorted(maps.Keys(d.layers)) {
		if !d.snapshots[layerVolume(id)] {
			objects = append(objects, "layer "+id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(d.containers)) {
		if !d.snapshots[containerVolume(id)] {
			objects = append(objects, "container "+d.containers[id].Name)
		}
	}
	return objects
}

// unknownLayers returns the ids of layers that have a snapshot and no document.
func (d documentSet) unknownLayers() []string {
	return d.unknown(layerVolume(""), func(id string) bool { _, known := d.layers[id]; return known })
}

// unknownContainers returns the ids of containers that have a snapshot and no document.
func (d documentSet) unknownContainers() []string {
	return d.unknown(containerVolume(""), func(id string) bool { _, known := d.containers[id]; return known })
}

func (d documentSet) unknown(prefix string, known func(id string) bool) (ids []string) {
	for _, key := range slices.Sorted(maps.Keys(d.snapshots)) {
		if id, is := strings.CutPrefix(key, prefix); is && !known(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

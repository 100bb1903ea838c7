package containerd

import (
	"fmt"
	"maps"
	"slices"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/thinpool"
)

// RepairIn removes, within a transaction, the snapshots of all namespaces whose volume
// or parent does not exist. containerd unpacks missing snapshots again. A volume that
// loses its snapshot becomes a volume of the user's, with its contents. RepairIn
// returns what it did.
func RepairIn(tx *thinpool.Tx) (actions []string, err error) {
	volumes := map[string]thinpool.VolumeRecord{}
	for volume, err := range tx.Volumes() {
		if err != nil {
			return nil, err
		}
		volumes[volume.Name] = volume
	}
	all := map[string]record{}
	for entry, err := range thinpool.Documents[record](tx, kindSnapshots, "") {
		if err != nil {
			return nil, err
		}
		all[entry.Key] = entry.Record
	}
	dropped := map[string]record{}
	for more := true; more; {
		more = false
		for key, r := range all {
			_, there := volumes[r.Volume]
			if r.Parent != "" {
				namespace, _ := splitNamespace(key)
				parent, ok := all[namespace+"/"+r.Parent]
				there = there && ok && parent.ID == r.ParentID
			}
			if !there {
				dropped[key], more = r, true
				delete(all, key)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(dropped)) {
		r := dropped[key]
		actions = append(
			actions,
			fmt.Sprintf("drop the record of containerd's snapshot %s: its volume or its parent's is gone", quoted(key)),
		)
		if err := dropRecord(tx, key, r); err != nil {
			return actions, err
		}
		if volume, there := volumes[r.Volume]; there && !r.shares() {
			if err := tx.Keep(volume, ""); err != nil {
				return actions, err
			}
		}
	}
	if len(dropped) == 0 {
		return nil, nil
	}
	return actions, recountViews(tx, all)
}

func dropRecord(tx *thinpool.Tx, key string, r record) error {
	if err := tx.Delete(kindSnapshots, key); err != nil || r.ParentID == "" {
		return err
	}
	namespace, _ := splitNamespace(key)
	return tx.Delete(kindChildren, namespace+"/"+r.ParentID+"/"+r.ID)
}

// recountViews corrects the number of views of committed snapshots.
func recountViews(tx *thinpool.Tx, all map[string]record) error {
	views := map[string]int{}
	for _, r := range all {
		if r.shares() {
			views[r.Volume]++
		}
	}
	for key, r := range all {
		if r.Kind != core.KindCommitted || r.Views == views[r.Volume] {
			continue
		}
		r.Views = views[r.Volume]
		if err := tx.Put(kindSnapshots, key, r); err != nil {
			return err
		}
	}
	return nil
}

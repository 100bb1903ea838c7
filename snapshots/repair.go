package snapshots

import (
	"fmt"
	"maps"
	"slices"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/thinpool"
)

// RepairIn removes, within a transaction, what [CheckIn] finds in all namespaces:
// documents of snapshots and templates whose volume or parent does not exist. A volume
// that loses its document becomes a volume of the user's, with its contents. RepairIn
// returns what it did.
func RepairIn(tx *thinpool.Tx) ([]string, error) {
	all, err := readState(tx)
	if err != nil {
		return nil, err
	}
	r := &repair{state: all, tx: tx, used: map[string]bool{}}
	for _, step := range []func() error{r.templatesIn, r.recordsIn, r.childrenIn, r.viewsIn, r.volumesIn} {
		if err := step(); err != nil {
			return r.actions, err
		}
	}
	return r.actions, nil
}

type repair struct {
	state
	tx      *thinpool.Tx
	used    map[string]bool // volumes that have a document
	actions []string
}

func (r *repair) did(format string, a ...any) {
	r.actions = append(r.actions, fmt.Sprintf(format, a...))
}

// keep makes sure that the volume of a document has its purpose.
func (r *repair) keep(name, purpose string) error {
	r.used[name] = true
	volume := r.volumes[name]
	if volume.For == purpose {
		return nil
	}
	r.did("set the purpose of volume %s to %s", name, purpose)
	return r.tx.Keep(volume, purpose)
}

func (r *repair) templatesIn() error {
	for _, t := range r.templates {
		name := TemplateVolume(t.Key)
		if _, there := r.volumes[name]; there {
			if err := r.keep(name, forTemplate); err != nil {
				return err
			}
			continue
		}
		r.did("remove the record of template %s: volume %s is gone", t.Key, name)
		if err := r.tx.Delete(kindTemplates, t.Key); err != nil {
			return err
		}
	}
	return nil
}

// recordsIn removes the documents without a volume or a parent, and then those that
// depend on them.
func (r *repair) recordsIn() error {
	for more := true; more; {
		more = false
		for _, key := range slices.Sorted(maps.Keys(r.records)) {
			record := r.records[key]
			why := ""
			if _, there := r.volumes[record.Volume]; !there {
				why = "its volume is gone"
			} else if !r.parent(key, record) {
				why = "its parent is gone"
			}
			if why == "" {
				continue
			}
			more = true
			delete(r.records, key)
			r.did("remove the record of %s: %s", shown(key), why)
			if err := dropRecord(r.tx, key, record); err != nil {
				return err
			}
		}
	}
	for _, record := range r.records {
		if err := r.keep(record.Volume, record.For); err != nil {
			return err
		}
	}
	return nil
}

// childrenIn makes the children those that the snapshots have.
func (r *repair) childrenIn() error {
	for key, record := range r.records {
		if record.ParentID == "" {
			continue
		}
		namespace, name := splitNamespace(key)
		child := childKey(namespace, record.ParentID, record.ID)
		if r.children[child] != name {
			r.did("record %s as a child of %s", shown(key), quoted(record.Parent))
			if err := r.tx.Put(kindChildren, child, name); err != nil {
				return err
			}
		}
		delete(r.children, child)
	}
	for child := range r.children {
		if err := r.tx.Delete(kindChildren, child); err != nil {
			return err
		}
	}
	return nil
}

func (r *repair) release(volume thinpool.VolumeRecord) error {
	as, err := r.tx.Release(volume)
	if err == nil {
		r.did("keep %s as the volume %s", volume.Name, as)
	}
	return err
}

// viewsIn corrects the number of views of committed snapshots.
func (r *repair) viewsIn() error {
	r.countViews()
	for key, record := range r.records {
		if n := r.views[record.Volume]; record.Kind == core.KindCommitted && record.Views != n {
			record.Views = n
			if err := r.tx.Put(kindSnapshots, key, record); err != nil {
				return err
			}
		}
	}
	return nil
}

// volumesIn turns volumes without a document into volumes of the user's.
func (r *repair) volumesIn() error {
	for _, name := range r.unused(r.used) {
		if err := r.release(r.volumes[name]); err != nil {
			return err
		}
	}
	return nil
}

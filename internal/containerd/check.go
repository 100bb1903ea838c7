package containerd

import (
	"context"
	"fmt"
	"strings"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/thinpool"
)

// Disagreement is an inconsistency that no sequence of completed and undone operations
// can leave.
type Disagreement struct {
	Object string
	Detail string
}

// Check compares the documents of all namespaces with the volumes and with each other,
// at one moment. A volume that a killed commit left behind is a disagreement until
// Recover has removed it.
func (s *Snapshotter) Check(ctx context.Context) ([]Disagreement, error) {
	var found []Disagreement
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		found, err = checkIn(tx)
		return err
	})
	return found, err
}

func checkIn(tx *thinpool.Tx) (found []Disagreement, err error) {
	say := func(object, detail string) { found = append(found, Disagreement{object, detail}) }
	volumes := map[string]thinpool.VolumeRecord{}
	for volume, err := range tx.Volumes() {
		if err != nil {
			return nil, err
		}
		if volume.For == keptFor {
			volumes[volume.Name] = volume
		}
	}
	all, children := map[string]record{}, map[string]string{}
	for entry, err := range thinpool.Documents[record](tx, kindSnapshots, "") {
		if err != nil {
			return nil, err
		}
		all[entry.Key] = entry.Record
	}
	for entry, err := range thinpool.Documents[string](tx, kindChildren, "") {
		if err != nil {
			return nil, err
		}
		children[entry.Key] = entry.Record
	}
	used, views := map[string]bool{}, map[string]int{} // by volume
	for key, r := range all {
		object := "snapshot " + quoted(key)
		volume, there := volumes[r.Volume]
		switch {
		case !there:
			say(object, "its volume "+r.Volume+" is missing")
		case volume.ReadOnly != (r.Kind != core.KindActive):
			say(object, "its volume "+r.Volume+" may be written, or may not, though it is "+r.Kind.String())
		}
		used[r.Volume] = true
		if r.shares() {
			views[r.Volume]++
		}
		namespace, name := splitNamespace(key)
		if r.Parent == "" {
			continue
		}
		if p, there := all[namespace+"/"+r.Parent]; !there || p.ID != r.ParentID || p.Kind != core.KindCommitted {
			say(object, "its parent "+quoted(r.Parent)+" is missing")
		}
		child := strings.Join([]string{namespace, r.ParentID, r.ID}, "/")
		if children[child] != name {
			say(object, "its parent does not know it")
		}
		delete(children, child)
	}
	for key, r := range all {
		if n := views[r.Volume]; r.Kind == core.KindCommitted && n != r.Views {
			say("snapshot "+quoted(key), fmt.Sprintf("it counts %d views, and has %d", r.Views, n))
		}
	}
	for child, name := range children {
		say("snapshot "+quoted(name), "it is known as a child, "+child+", and is none")
	}
	for name := range volumes {
		if used[name] {
			continue
		}
		say("volume "+name, "no snapshot has it")
	}
	return found, nil
}

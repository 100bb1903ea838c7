package snapshots

import (
	"context"
	"fmt"
	"maps"
	"slices"
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
		found, err = CheckIn(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	left, err := s.strays(ctx)
	for _, name := range left {
		found = append(found, Disagreement{"volume " + name, "no snapshot has it"})
	}
	return found, err
}

// CheckIn is Check within the caller's transaction, without the volumes that a commit
// has replaced and is about to remove.
func CheckIn(tx *thinpool.Tx) ([]Disagreement, error) {
	all, err := readState(tx)
	if err != nil {
		return nil, err
	}
	c := &check{state: all, used: map[string]bool{}}
	for _, key := range slices.Sorted(maps.Keys(all.records)) {
		c.record(key, all.records[key])
	}
	for child, name := range all.children {
		c.say("snapshot "+quoted(name), "it is recorded as the child "+child+", and does not exist")
	}
	for _, t := range all.templates {
		c.volume("template "+t.Key, TemplateVolume(t.Key), forTemplate, true)
	}
	for _, name := range all.unused(c.used) {
		volume := all.volumes[name]
		if volume.For == ForContainerd {
			continue
		}
		c.say("volume "+name, "its purpose is "+volume.For+", and it has no document")
	}
	return c.found, nil
}

// state is all documents of this package, with the volumes.
type state struct {
	volumes   map[string]thinpool.VolumeRecord
	records   map[string]Record // by namespace/key
	children  map[string]string
	templates []Template
	leases    map[string]bool // by id
	views     map[string]int  // by volume
}

func readState(tx *thinpool.Tx) (state, error) {
	all := state{volumes: map[string]thinpool.VolumeRecord{}, records: map[string]Record{},
		children: map[string]string{}, leases: map[string]bool{}, views: map[string]int{}}
	for volume, err := range tx.Volumes() {
		if err != nil {
			return all, err
		}
		all.volumes[volume.Name] = volume
	}
	for entry, err := range thinpool.Documents[Record](tx, kindSnapshots, "") {
		if err != nil {
			return all, err
		}
		all.records[entry.Key] = entry.Record
	}
	for entry, err := range thinpool.Documents[string](tx, kindChildren, "") {
		if err != nil {
			return all, err
		}
		all.children[entry.Key] = entry.Record
	}
	for entry, err := range thinpool.Documents[Template](tx, kindTemplates, "") {
		if err != nil {
			return all, err
		}
		all.templates = append(all.templates, entry.Record)
	}
	leases, err := leasesIn(tx)
	for _, l := range leases {
		all.leases[l.ID] = true
	}
	all.countViews()
	return all, err
}

// unused returns the volumes that are kept for this package and have no document.
func (all *state) unused(used map[string]bool) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(all.volumes)) {
		lease, of := strings.CutPrefix(name, leaseVolume(""))
		purpose := all.volumes[name].For
		leased := purpose == forLease && of && all.leases[lease]
		if isOurs(purpose) && !used[name] && !leased {
			names = append(names, name)
		}
	}
	return names
}

func (all *state) countViews() {
	clear(all.views)
	for _, r := range all.records {
		if r.shares() {
			all.views[r.Volume]++
		}
	}
}

// parent reports whether the parent of a snapshot exists, or the snapshot has none. key
// has the namespace.
func (all *state) parent(key string, r Record) bool {
	if r.Parent == "" {
		return true
	}
	namespace, _ := splitNamespace(key)
	p, there := all.records[namespace+"/"+r.Parent]
	return there && p.ID == r.ParentID && p.Kind == core.KindCommitted
}

type check struct {
	state
	used  map[string]bool // volumes that have a document
	found []Disagreement
}

func (c *check) say(object, detail string) { c.found = append(c.found, Disagreement{object, detail}) }

// volume checks the volume of an object.
func (c *check) volume(object, name, purpose string, readOnly bool) {
	volume, there := c.volumes[name]
	switch {
	case !there:
		c.say(object, "its volume "+name+" is missing")
	case volume.For != purpose:
		c.say(object, fmt.Sprintf("its volume %s is kept for %q, not for %q", name, volume.For, purpose))
	case volume.ReadOnly != readOnly:
		c.say(object, fmt.Sprintf("its volume %s is read-only: %v, want %v", name, volume.ReadOnly, readOnly))
	}
	c.used[name] = true
}

// shown returns a snapshot for messages; key has the namespace.
func shown(key string) string { return "snapshot " + quoted(strings.TrimPrefix(key, Local+"/")) }

func (c *check) record(key string, r Record) {
	object := shown(key)
	c.volume(object, r.Volume, r.For, r.Kind != core.KindActive)
	if n := c.views[r.Volume]; r.Kind == core.KindCommitted && n != r.Views {
		c.say(object, fmt.Sprintf("it records %d views, and has %d", r.Views, n))
	}
	if r.Parent == "" {
		return
	}
	if !c.parent(key, r) {
		c.say(object, "its parent "+quoted(r.Parent)+" is missing")
	}
	namespace, name := splitNamespace(key)
	child := childKey(namespace, r.ParentID, r.ID)
	if c.children[child] != name {
		c.say(object, "its parent does not have it as a child")
	}
	delete(c.children, child)
}

package snapshots

import (
	"iter"
	"maps"
	"time"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// The documents that this package keeps in the pool's database. A namespace has no
// slash.
const (
	kindSnapshots thinpool.DocumentKind = "snapshots"         // namespace/key -> Record
	kindChildren  thinpool.DocumentKind = "snapshot-children" // namespace/parent's id/id -> key
	kindTemplates thinpool.DocumentKind = "templates"         // key -> Template
	kindLeases    thinpool.DocumentKind = "leases"            // lease id -> leaseRecord
)

// The purposes of volumes in their records (see [thinpool.Keep]).
const (
	ForContainerd = "containerd" // snapshots of a containerd
	ForLayer      = "layer"      // layers of images, and their inits
	ForContainer  = "container"  // containers of the command line
	forTemplate   = "template"
	forLease      = "work"
)

// isOurs reports whether this package keeps volumes for a purpose. Other packages keep
// volumes in the same pool.
func isOurs(purpose string) bool {
	switch purpose {
	case ForContainerd, ForLayer, ForContainer, forTemplate, forLease:
		return true
	}
	return false
}

// mountedHere reports whether only this program mounts the volumes of a purpose, and
// not for a lease, which removes its volume itself.
func mountedHere(purpose string) bool {
	return purpose == ForLayer || purpose == ForContainer || purpose == forTemplate
}

// footprint is the space and the inodes that a file system takes.
type footprint struct {
	Mapped units.Bytes `json:"mapped"`
	Inodes uint64      `json:"inodes"`
}

// less returns what f has beyond g, and at least zero.
func (f footprint) less(g footprint) footprint {
	return footprint{Mapped: f.Mapped - min(f.Mapped, g.Mapped), Inodes: f.Inodes - min(f.Inodes, g.Inodes)}
}

// Record is a snapshot's document.
type Record struct {
	ID       string            `json:"id"` // of the snapshot, whatever its name
	Kind     core.Kind         `json:"kind"`
	Volume   string            `json:"volume"`
	For      string            `json:"for"`              // the purpose of the volume
	Parent   string            `json:"parent,omitempty"` // its name
	ParentID string            `json:"parent_id,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Created  time.Time         `json:"created"`
	Updated  time.Time         `json:"updated"`
	FS       filesystem.Type   `json:"fs"`
	Size     units.Bytes       `json:"size"` // of its volume
	// FileSystem is the size of its file system, or 0 if it fills the volume.
	FileSystem units.Bytes `json:"file_system,omitempty"`
	// Below is what it began with. All is the whole of a committed snapshot, and Own
	// the part beyond its parent. They are zero in the local namespace, whose snapshots
	// are measured in the pool's metadata.
	Below footprint `json:"below,omitzero"`
	All   footprint `json:"all,omitzero"`
	Own   footprint `json:"own,omitzero"`
	// Views is the number of views of a committed snapshot.
	Views int `json:"views,omitempty"`
}

// shares reports whether the volume is the parent's.
func (r Record) shares() bool { return r.Kind == core.KindView && r.Volume != volumeName(r.ID) }

func (r Record) info(name string) core.Info {
	return core.Info{
		Name:    name,
		Kind:    r.Kind,
		Parent:  r.Parent,
		Labels:  maps.Clone(r.Labels),
		Created: r.Created,
		Updated: r.Updated,
	}
}

func (s *Snapshotter) key(name string) string { return s.options.Namespace + "/" + name }

func childKey(namespace, parent, id string) string { return namespace + "/" + parent + "/" + id }

// find reads a snapshot's document. The kind of the error is NotFound if there is none.
func (s *Snapshotter) find(tx *thinpool.Tx, op, name string) (Record, error) {
	r, found, err := Find(tx, s.options.Namespace, name)
	if err == nil && !found {
		err = refused(op, name, fault.NotFound, "")
	}
	return r, err
}

// Find returns the document of the snapshot of a key or name in a namespace, and whether
// there is one.
func Find(tx *thinpool.Tx, namespace, name string) (Record, bool, error) {
	return thinpool.Document[Record](tx, kindSnapshots, namespace+"/"+name)
}

// Records yields the documents of a namespace's snapshots whose keys begin with prefix,
// with their keys and in their order. An error ends it.
func Records(
	tx *thinpool.Tx,
	namespace, prefix string,
) iter.Seq2[thinpool.DocumentEntry[Record], error] {
	return func(yield func(thinpool.DocumentEntry[Record], error) bool) {
		for entry, err := range thinpool.Documents[Record](tx, kindSnapshots, namespace+"/"+prefix) {
			_, entry.Key = splitNamespace(entry.Key)
			if !yield(entry, err) {
				return
			}
		}
	}
}

// free returns an error if a name is taken.
func (s *Snapshotter) free(tx *thinpool.Tx, op, name string) error {
	_, taken, err := Find(tx, s.options.Namespace, name)
	if err == nil && taken {
		err = refused(op, name, fault.Exists, "")
	}
	return err
}

func (s *Snapshotter) put(tx *thinpool.Tx, name string, r Record) error {
	if err := tx.Put(kindSnapshots, s.key(name), r); err != nil {
		return err
	}
	if r.ParentID == "" {
		return nil
	}
	return tx.Put(kindChildren, childKey(s.options.Namespace, r.ParentID, r.ID), name)
}

func (s *Snapshotter) drop(tx *thinpool.Tx, name string, r Record) error {
	return dropRecord(tx, s.key(name), r)
}

// dropRecord removes the document of a snapshot; key has its namespace.
func dropRecord(tx *thinpool.Tx, key string, r Record) error {
	if err := tx.Delete(kindSnapshots, key); err != nil || r.ParentID == "" {
		return err
	}
	namespace, _ := splitNamespace(key)
	return tx.Delete(kindChildren, childKey(namespace, r.ParentID, r.ID))
}

// child returns the name of a snapshot whose parent is r, or "" if there is none.
func (s *Snapshotter) child(tx *thinpool.Tx, r Record) (string, error) {
	for entry, err := range thinpool.Documents[string](tx, kindChildren, childKey(s.options.Namespace, r.ID, "")) {
		return entry.Record, err
	}
	return "", nil
}

// volumeName returns the name of the volume of a snapshot for which the caller has
// given none.
func volumeName(id string) string { return ForContainerd + "-" + id }

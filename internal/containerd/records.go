package containerd

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// The documents that this package keeps in the pool's database. A namespace has no
// slash.
const (
	kindSnapshots thinpool.DocumentKind = "containerd-snapshots" // namespace/key -> record
	kindChildren  thinpool.DocumentKind = "containerd-children"  // namespace/parent's id/id -> key
)

// keptFor is the purpose of the volumes in their records.
const keptFor = "containerd"

// footprint is the space and the inodes that a file system takes.
type footprint struct {
	Mapped units.Bytes `json:"mapped"`
	Inodes uint64      `json:"inodes"`
}

// less returns what f has beyond g, and at least zero.
func (f footprint) less(g footprint) footprint {
	return footprint{Mapped: f.Mapped - min(f.Mapped, g.Mapped), Inodes: f.Inodes - min(f.Inodes, g.Inodes)}
}

// record is a snapshot's document.
type record struct {
	ID       string            `json:"id"` // of the snapshot, whatever its name
	Kind     core.Kind         `json:"kind"`
	Volume   string            `json:"volume"`
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
	// the part beyond its parent.
	Below footprint `json:"below"`
	All   footprint `json:"all,omitzero"`
	Own   footprint `json:"own,omitzero"`
	// Views is the number of views of a committed snapshot.
	Views int `json:"views,omitempty"`
}

// shares reports whether the volume is the parent's.
func (r record) shares() bool { return r.Kind == core.KindView && r.Volume != volumeName(r.ID) }

func (r record) info(name string) core.Info {
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

func (s *Snapshotter) childKey(parent, id string) string {
	return s.options.Namespace + "/" + parent + "/" + id
}

// find reads a snapshot's document. The kind of the error is NotFound if there is none.
func (s *Snapshotter) find(tx *thinpool.Tx, op, name string) (record, error) {
	var r record
	err := tx.Get(kindSnapshots, s.key(name), &r)
	if errors.Is(err, fault.NotFound) {
		return r, refused(op, name, fault.NotFound, "")
	}
	return r, err
}

// free returns an error if a name is taken.
func (s *Snapshotter) free(tx *thinpool.Tx, op, name string) error {
	_, err := s.find(tx, op, name)
	switch {
	case missing(err):
		return nil
	case err == nil:
		return refused(op, name, fault.Exists, "")
	}
	return err
}

func (s *Snapshotter) put(tx *thinpool.Tx, name string, r record) error {
	if err := tx.Put(kindSnapshots, s.key(name), r); err != nil {
		return err
	}
	if r.ParentID == "" {
		return nil
	}
	return tx.Put(kindChildren, s.childKey(r.ParentID, r.ID), name)
}

func (s *Snapshotter) drop(tx *thinpool.Tx, name string, r record) error {
	if err := tx.Delete(kindSnapshots, s.key(name)); err != nil || r.ParentID == "" {
		return err
	}
	return tx.Delete(kindChildren, s.childKey(r.ParentID, r.ID))
}

// child returns the name of a snapshot whose parent is r, or "" if there is none.
func (s *Snapshotter) child(tx *thinpool.Tx, r record) (string, error) {
	for entry, err := range thinpool.Documents[string](tx, kindChildren, s.childKey(r.ID, "")) {
		return entry.Record, err
	}
	return "", nil
}

func volumeName(id string) string { return keptFor + "-" + id }

const (
	// maxName is far more than containerd uses for a key, and less than the database
	// accepts.
	maxName = 16 << 10
	// maxLabel is containerd's own limit for a label's key and value together
	// (pkg/labels/validate.go).
	maxLabel = 4096
	// maxLabels bounds the size of one record in the database.
	maxLabels = 256 << 10
)

func checkName(op, what, name string) error {
	switch {
	case name == "":
		return refused(op, name, fault.Invalid, "the "+what+" is empty")
	case len(name) > maxName:
		return refused(
			op,
			name,
			fault.Invalid,
			fmt.Sprintf("the %s has %d bytes, at most %d are allowed", what, len(name), maxName),
		)
	case !utf8.ValidString(name):
		return refused(op, name, fault.Invalid, "the "+what+" is not UTF-8")
	}
	return nil
}

// applied returns what options set: the labels, and the parent of a commit.
func applied(op, name string, opts []core.Opt) (core.Info, error) {
	var info core.Info
	for _, opt := range opts {
		if err := opt(&info); err != nil {
			return info, &Error{
				Op:     op,
				Object: "snapshot " + quoted(name),
				Kind:   fault.Invalid,
				Detail: "an option",
				Err:    err,
			}
		}
	}
	return info, checkLabels(op, name, info.Labels)
}

func checkLabels(op, name string, labels map[string]string) error {
	all := 0
	for key, value := range labels {
		size := len(key) + len(value)
		all += size
		switch {
		case key == "":
			return refused(op, name, fault.Invalid, "a label has no key")
		case size > maxLabel:
			return refused(
				op,
				name,
				fault.Invalid,
				fmt.Sprintf(
					"label %s has %d bytes with its value, at most %d are allowed",
					quoted(key),
					size,
					maxLabel,
				),
			)
		case !utf8.ValidString(key) || !utf8.ValidString(value):
			return refused(op, name, fault.Invalid, "label "+quoted(key)+" is not UTF-8")
		}
	}
	if all > maxLabels {
		return refused(
			op,
			name,
			fault.Invalid,
			fmt.Sprintf("its labels have %d bytes, at most %d are allowed", all, maxLabels),
		)
	}
	return nil
}

func splitNamespace(key string) (namespace, name string) {
	namespace, name, _ = strings.Cut(key, "/")
	return namespace, name
}

package layers

import (
	"strings"
	"time"

	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// The documents that this package keeps in the pool's database, beside those of the
// snapshots. A snapshot has the name of its volume as its key.
const (
	kindLayers     thinpool.DocumentKind = "layers"          // layer id -> Layer
	kindContainers thinpool.DocumentKind = "containers"      // container id -> Container
	kindNames      thinpool.DocumentKind = "container-names" // name -> container id
)

// Layer is the result of one step of an image; it is never written again.
type Layer struct {
	// ID is 64 hex digits: the OCI chain id of a loaded layer, or random for a
	// committed layer. It does not change when the digests become known.
	ID      string `json:"id"`
	DiffID  string `json:"diff_id,omitempty"`  // "sha256:..." of the uncompressed tar; "" until computed
	ChainID string `json:"chain_id,omitempty"` // 64 hex digits; "" until it can be computed
	// Size is the sum of the sizes of the files that the layer brought, and Entries the
	// number of entries in its tar. Both are 0 for a committed layer whose difference
	// was never computed.
	Size    units.Bytes `json:"size"`
	Entries int         `json:"entries"`
	TarSize int64       `json:"tar_size,omitempty"` // bytes of the uncompressed tar; 0 until known
	Created time.Time   `json:"created"`

	// The rest is in the document of the layer's snapshot.

	Parent string `json:"-"` // a layer's id, "" for a base layer
	// Base is the key of the init that a committed layer was made on. The mount points
	// in the init are not changes of the layer.
	Base   string          `json:"-"`
	FS     filesystem.Type `json:"-"`
	Volume units.Bytes     `json:"-"` // virtual size of its volume
	// FileSystem is the size of its file system, or 0 if it fills the volume.
	FileSystem units.Bytes `json:"-"`
}

// describe fills in what the document of the layer's snapshot has.
func (l *Layer) describe(r snapshots.Record) {
	l.FS, l.Volume, l.FileSystem = r.FS, r.Size, r.FileSystem
	if id, is := strings.CutPrefix(r.Parent, layerVolume("")); is {
		l.Parent = id
	}
	if key, is := strings.CutPrefix(r.Parent, initVolume("")); is {
		l.Base, l.Parent = key, layerOf(key)
	}
}

// layerOf returns the layer of an init's key, or "" for that of an empty image.
func layerOf(key string) string {
	if isID(key) {
		return key
	}
	return ""
}

// Container is a writable volume over a layer.
type Container struct {
	ID         string    `json:"id"` // 64 hex digits
	Name       string    `json:"name"`
	Image      string    `json:"image,omitempty"`      // the key of the image it was made of
	ImageName  string    `json:"image_name,omitempty"` // the name it was made by
	MountLabel string    `json:"mount_label,omitempty"`
	Created    time.Time `json:"created"`

	// The rest is in the document of the container's snapshot.

	Layer      string          `json:"-"` // the image's top layer, "" for an empty image
	Init       string          `json:"-"` // the key of the init that it began as
	FS         filesystem.Type `json:"-"`
	Size       units.Bytes     `json:"-"` // virtual size of its volume
	FileSystem units.Bytes     `json:"-"` // its file system's, 0 where it fills the volume
}

// describe fills in what the document of the container's snapshot has.
func (c *Container) describe(r snapshots.Record) {
	c.FS, c.Size, c.FileSystem = r.FS, r.Size, r.FileSystem
	c.Init, _ = strings.CutPrefix(r.Parent, initVolume(""))
	c.Layer = layerOf(c.Init)
}

// Init is a layer plus the mount points of a container's environment. All containers of
// the layer begin as its snapshots.
type Init struct {
	Key        string // the layer's id, or a word for an empty file system of a type and size
	Layer      string // "" over an empty file system
	FS         filesystem.Type
	Volume     units.Bytes
	FileSystem units.Bytes
	Created    time.Time
}

func initOf(key string, r snapshots.Record) Init {
	return Init{Key: key, Layer: layerOf(key), FS: r.FS, Volume: r.Size, FileSystem: r.FileSystem, Created: r.Created}
}

// initIn reads the init of a key; found is false if there is none.
func initIn(tx *thinpool.Tx, key string) (init Init, found bool, err error) {
	r, found, err := snapshots.Find(tx, snapshots.Local, initVolume(key))
	return initOf(key, r), found, err
}

// initsIn reads all inits, in the order of their keys.
func initsIn(tx *thinpool.Tx) ([]Init, error) {
	var all []Init
	for entry, err := range snapshots.Records(tx, snapshots.Local, initVolume("")) {
		if err != nil {
			return nil, err
		}
		key, _ := strings.CutPrefix(entry.Key, initVolume(""))
		all = append(all, initOf(key, entry.Record))
	}
	return all, nil
}

// described is an object with a snapshot.
type described[T any] interface {
	*T
	describe(snapshots.Record)
	volume() string
}

func (l *Layer) volume() string     { return layerVolume(l.ID) }
func (c *Container) volume() string { return containerVolume(c.ID) }

// withSnapshot fills in what the document of the object's snapshot has.
func withSnapshot[T any, P described[T]](tx *thinpool.Tx, object T, found bool, err error) (T, bool, error) {
	if err != nil || !found {
		return object, false, err
	}
	p := P(&object)
	r, _, err := snapshots.Find(tx, snapshots.Local, p.volume())
	p.describe(r)
	return object, true, err
}

// layerIn reads the layer of a whole id; found is false if there is none.
func layerIn(tx *thinpool.Tx, id string) (Layer, bool, error) {
	l, found, err := thinpool.Document[Layer](tx, kindLayers, id)
	return withSnapshot[Layer](tx, l, found, err)
}

// all reads all objects of a kind, in the order of their keys.
func all[T any, P described[T]](tx *thinpool.Tx, kind thinpool.DocumentKind) ([]T, error) {
	var objects []T
	for entry, err := range thinpool.Documents[T](tx, kind, "") {
		object, _, err := withSnapshot[T, P](tx, entry.Record, true, err)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// AllIn returns all layers, in the order of their ids.
func AllIn(tx *thinpool.Tx) ([]Layer, error) { return all[Layer](tx, kindLayers) }

// CountLayersIn returns the number of layers.
func CountLayersIn(tx *thinpool.Tx) int { return tx.Count(kindLayers) }

// ContainersIn returns all containers, in the order of their ids.
func ContainersIn(tx *thinpool.Tx) ([]Container, error) { return all[Container](tx, kindContainers) }

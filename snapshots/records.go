package snapshots

import (
	"time"

	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// The documents that this package keeps in the pool's database.
const (
	kindLayers     thinpool.DocumentKind = "layers"          // layer id -> Layer
	kindContainers thinpool.DocumentKind = "containers"      // container id -> Container
	kindNames      thinpool.DocumentKind = "container-names" // name -> container id
	kindInits      thinpool.DocumentKind = "inits"           // layer id, or a template's key -> Init
	kindTemplates  thinpool.DocumentKind = "templates"       // key -> Template
	kindLeases     thinpool.DocumentKind = "work"            // lease id -> Lease
)

// The purposes of volumes in their records. An init belongs to its layer.
const (
	forLayer     = "layer"
	forContainer = "container"
	forTemplate  = "template"
	forLease     = "work"
)

// isOurs reports whether this package keeps volumes for a purpose. Other packages keep
// volumes in the same pool.
func isOurs(what string) bool {
	switch what {
	case forLayer, forContainer, forTemplate, forLease:
		return true
	}
	return false
}

// Layer is the result of one step of an image; it is never written again.
type Layer struct {
	// ID is 64 hex digits: the OCI chain id of a loaded layer, or random for a
	// committed layer. It does not change when the digests become known.
	ID     string `json:"id"`
	Parent string `json:"parent,omitempty"` // a layer's id, "" for a base layer
	// Base is the key of the init that a committed layer was made on. The mount points
	// in the init are not changes of the layer.
	Base    string `json:"base,omitempty"`
	DiffID  string `json:"diff_id,omitempty"`  // "sha256:..." of the uncompressed tar; "" until computed
	ChainID string `json:"chain_id,omitempty"` // 64 hex digits; "" until it can be computed
	// Size is the sum of the sizes of the files that the layer brought, and Entries the
	// number of entries in its tar. Both are 0 for a committed layer whose difference
	// was never computed.
	Size    units.Bytes     `json:"size"`
	Entries int             `json:"entries"`
	TarSize int64           `json:"tar_size,omitempty"` // bytes of the uncompressed tar; 0 until known
	Created time.Time       `json:"created"`
	FS      filesystem.Type `json:"fs"`
	Volume  units.Bytes     `json:"volume"` // virtual size of its volume
	// FileSystem is the size of its file system, or 0 if it fills the volume.
	FileSystem units.Bytes `json:"file_system,omitempty"`
}

// Container is a writable volume over a layer.
type Container struct {
	ID         string          `json:"id"` // 64 hex digits
	Name       string          `json:"name"`
	Image      string          `json:"image,omitempty"`      // the key of the image it was made of
	ImageName  string          `json:"image_name,omitempty"` // the name it was made by
	Layer      string          `json:"layer,omitempty"`      // the image's top layer, "" for an empty image
	Init       string          `json:"init"`                 // the key of the init that it began as
	FS         filesystem.Type `json:"fs"`
	Size       units.Bytes     `json:"size"`                  // virtual size of its volume
	FileSystem units.Bytes     `json:"file_system,omitempty"` // its file system's, 0 where it fills the volume
	MountLabel string          `json:"mount_label,omitempty"`
	Created    time.Time       `json:"created"`
}

// Init is a layer plus the mount points of a container's environment. All containers of
// the layer begin as its snapshots.
type Init struct {
	Key        string          `json:"key"`             // the layer's id, or a template's key
	Layer      string          `json:"layer,omitempty"` // "" over a template
	FS         filesystem.Type `json:"fs"`
	Volume     units.Bytes     `json:"volume"`
	FileSystem units.Bytes     `json:"file_system,omitempty"`
	Created    time.Time       `json:"created"`
}

// Template is an empty file system, made once for each type and size.
type Template struct {
	Key     string          `json:"key"`
	FS      filesystem.Type `json:"fs"`
	Size    units.Bytes     `json:"size"`
	Created time.Time       `json:"created"`
}

// Lease keeps layers while work is in progress, and may have a volume that is being
// filled. It is alive as long as its byte of the lock file is locked.
type Lease struct {
	ID      string    `json:"id"`
	Layers  []string  `json:"layers,omitempty"` // those that exist cannot be removed
	Created time.Time `json:"created"`
}

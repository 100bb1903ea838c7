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
	kindWork       thinpool.DocumentKind = "work"            // work id -> Work
)

// What the volumes are kept for. An init goes along with its layer.
const (
	forLayer     = "layer"
	forContainer = "container"
	forTemplate  = "template"
	forWork      = "work"
)

// isOurs tells whether this package keeps volumes for that. Packages beside it
// keep others in the same pool.
func isOurs(what string) bool {
	switch what {
	case forLayer, forContainer, forTemplate, forWork:
		return true
	}
	return false
}

// Layer is what one step of an image changed; it is never written again.
type Layer struct {
	// ID is 64 hex digits: of a loaded layer its OCI chain id, of a committed one
	// random, and it stays when the digests become known.
	ID     string `json:"id"`
	Parent string `json:"parent,omitempty"` // a layer's id, "" for a base layer
	// Base is the key of the init that a committed layer is the difference to:
	// the init's stubs are no change of the layer's.
	Base    string `json:"base,omitempty"`
	DiffID  string `json:"diff_id,omitempty"`  // "sha256:..." of the uncompressed tar; "" until computed
	ChainID string `json:"chain_id,omitempty"` // 64 hex digits; "" until it can be computed
	// Size is the sum of the sizes of the files that its change brought, and
	// Entries the number of its tar's entries; 0 of a committed layer whose
	// difference nobody has asked for.
	Size    units.Bytes     `json:"size"`
	Entries int             `json:"entries"`
	TarSize int64           `json:"tar_size,omitempty"` // bytes of the uncompressed tar; 0 until known
	Created time.Time       `json:"created"`
	FS      filesystem.Type `json:"fs"`
	Volume  units.Bytes     `json:"volume"` // virtual size of its volume
	// FileSystem is the size of its file system, 0 where it fills the volume.
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

// Init is a layer with the stubs of a container's environment. All containers of
// the layer begin as its copies.
type Init struct {
	Key        string          `json:"key"`             // the layer's id, or a template's key
	Layer      string          `json:"layer,omitempty"` // "" over a template
	FS         filesystem.Type `json:"fs"`
	Volume     units.Bytes     `json:"volume"`
	FileSystem units.Bytes     `json:"file_system,omitempty"`
	Created    time.Time       `json:"created"`
}

// Template is an empty file system, made once for its kind and size.
type Template struct {
	Key     string          `json:"key"`
	FS      filesystem.Type `json:"fs"`
	Size    units.Bytes     `json:"size"`
	Created time.Time       `json:"created"`
}

// Work is something under way: it holds layers, and may have a volume that is
// being filled. It is alive as long as its byte of the lock file is locked.
type Work struct {
	ID      string    `json:"id"`
	Layers  []string  `json:"layers,omitempty"` // nobody removes those that exist
	Created time.Time `json:"created"`
}

package images

import (
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/internal/images/manifest"
	"thinctl/internal/images/reference"
	"thinctl/thinpool"
)

// The documents that this package keeps in the pool's database.
const (
	kindImages thinpool.DocumentKind = "images"      // key -> Image
	kindNames  thinpool.DocumentKind = "image-names" // canonical name -> named
	kindIDs    thinpool.DocumentKind = "image-ids"   // id -> key, where the two differ
)

// Image is a config and a chain of layers.
type Image struct {
	// Key is 64 hex digits and never changes: of a loaded image its id, of a
	// committed one its top layer's.
	Key string `json:"key"`
	// ID is the digest of Raw, 64 hex digits; "" until it is computed.
	ID string `json:"id,omitempty"`
	// Raw is the config, byte for byte where ID is known; before that it lacks
	// the layers' diff ids.
	Raw []byte `json:"config"`
	// Layers are the layers' ids, base first.
	Layers []string `json:"layers"`
	// Parent is the key of the image that this one was committed over.
	Parent string `json:"parent,omitempty"`
	// Created is the config's time, Loaded when the image came to this pool.
	Created time.Time `json:"created"`
	Loaded  time.Time `json:"loaded"`

	// Names are the image's names, sorted; read along, not kept in the record.
	Names []reference.Reference `json:"-"`
}

// named is a name's document.
type named struct {
	Key string `json:"key"`
	// Manifest is the digest that the name stood for in a registry.
	Manifest string `json:"manifest,omitempty"`
}

// Shown is the id to show: the image's own, or its key until that is known.
func (i Image) Shown() string {
	if i.ID != "" {
		return i.ID
	}
	return i.Key
}

// Top is the id of the topmost layer, "" for an image without layers.
func (i Image) Top() string {
	if len(i.Layers) == 0 {
		return ""
	}
	return i.Layers[len(i.Layers)-1]
}

// Config reads the config.
func (i Image) Config() (*v1.ConfigFile, error) {
	config, err := manifest.ParseConfig(i.Raw, nil)
	if err != nil {
		return nil, fmt.Errorf("the config of image %s: %w", i.Shown(), err)
	}
	return config, nil
}

// String is the image's first name, or the beginning of its id.
func (i Image) String() string {
	if len(i.Names) > 0 {
		return "image " + i.Names[0].Familiar()
	}
	return "image " + short(i.Shown())
}

func short(id string) string { return id[:min(len(id), 12)] }

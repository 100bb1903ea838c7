package images

import (
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/internal/images/manifest"
	"thinctl/internal/images/reference"
	"thinctl/thinpool"
)

// The documents of this package in the pool's database.
const (
	kindImages thinpool.DocumentKind = "images"      // key -> Image
	kindNames  thinpool.DocumentKind = "image-names" // canonical name -> named
	kindIDs    thinpool.DocumentKind = "image-ids"   // id -> key, where the two differ
)

// Image is a config and a chain of layers.
type Image struct {
	// Key has 64 hex digits and never changes. It is the id of a loaded image, and the id
	// of the top layer of a committed one.
	Key string `json:"key"`
	// ID is the digest of Raw, 64 hex digits; "" until it is computed.
	ID string `json:"id,omitempty"`
	// Raw is the config, byte for byte. Until ID is computed, it does not have the layers'
	// diff ids.
	Raw []byte `json:"config"`
	// Layers are the ids of the layers, base first.
	Layers []string `json:"layers"`
	// Parent is the key of the image of the container that was committed.
	Parent string `json:"parent,omitempty"`
	// Created is the time in the config, Loaded the time when the pool got the image.
	Created time.Time `json:"created"`
	Loaded  time.Time `json:"loaded"`

	// Names are the image's names, sorted. They are not part of the document.
	Names []reference.Reference `json:"-"`
}

// named is the document of a name.
type named struct {
	Key string `json:"key"`
	// Manifest is the digest of the manifest that the name had in a registry.
	Manifest string `json:"manifest,omitempty"`
}

// Shown returns the id for output: the image's id, or its key until the id is computed.
func (i Image) Shown() string {
	if i.ID != "" {
		return i.ID
	}
	return i.Key
}

// Top returns the id of the top layer, "" for an image without layers.
func (i Image) Top() string {
	if len(i.Layers) == 0 {
		return ""
	}
	return i.Layers[len(i.Layers)-1]
}

// Config parses the config.
func (i Image) Config() (*v1.ConfigFile, error) {
	config, err := manifest.ParseConfig(i.Raw, nil)
	if err != nil {
		return nil, fmt.Errorf("read the config of image %s: %w", i.Shown(), err)
	}
	return config, nil
}

// String returns the word image with the image's first name or the beginning of its id.
func (i Image) String() string {
	if len(i.Names) > 0 {
		return "image " + i.Names[0].Familiar()
	}
	return "image " + short(i.Shown())
}

func short(id string) string { return id[:min(len(id), 12)] }

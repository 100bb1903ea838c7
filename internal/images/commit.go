package images

import (
	"context"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/thinpool"
)

// CommitOptions describe the image that a commit creates.
type CommitOptions struct {
	Names   []reference.Reference
	Author  string
	Message string
	// Changes are instructions as in a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE,
	// LABEL, ONBUILD, USER, VOLUME and WORKDIR.
	Changes []string
}

// Commit creates an image from a container's present contents. The layer is a snapshot:
// no data is copied or read. The layer's digest, and with it the image's id, is computed
// when it is first needed.
func (s *Store) Commit(ctx context.Context, container string, o CommitOptions) (Image, error) {
	edits, err := parseChanges(o.Changes)
	if err != nil {
		return Image{}, err
	}
	c, err := s.layers.Container(ctx, container)
	if err != nil {
		return Image{}, err
	}
	var image Image
	record := func(tx *thinpool.Tx, layer layers.Layer) (err error) {
		image, err = s.commit(tx, c, layer, edits, o)
		return err
	}
	_, err = s.layers.CommitContainer(ctx, c.ID, layers.CommitOptions{With: record})
	return image, err
}

// commit writes the documents of the image whose top layer is layer.
func (s *Store) commit(
	tx *thinpool.Tx, c layers.Container, layer layers.Layer, edits edits, o CommitOptions,
) (Image, error) {
	image := Image{Key: layer.ID, Parent: c.Image, Loaded: s.now(), Created: s.now()}
	raw, err := marshal(emptyConfig())
	if err != nil {
		return image, err
	}
	if c.Image != "" {
		parent, err := byKey(tx, c.Image)
		if err != nil {
			return image, err
		}
		raw = parent.Raw
		image.Layers = append(image.Layers, parent.Layers...)
	}
	image.Layers = append(image.Layers, layer.ID)
	step := v1.History{Created: v1.Time{Time: image.Created}, Author: o.Author, Comment: o.Message}
	if image.Raw, err = committed(raw, step, edits); err != nil {
		return image, err
	}
	if err := tx.Put(kindImages, image.Key, image); err != nil {
		return image, err
	}
	if err := setNames(tx, image.Key, "", o.Names); err != nil {
		return image, err
	}
	image.Names = o.Names
	return image, nil
}

// emptyConfig returns the config of an image without a parent.
func emptyConfig() *v1.ConfigFile {
	return &v1.ConfigFile{Architecture: runtime.GOARCH, OS: "linux", RootFS: v1.RootFS{Type: "layers"}}
}

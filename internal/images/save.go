package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"thinctl/internal/changes"
	"thinctl/internal/images/layertar"
	"thinctl/internal/images/manifest"
	"thinctl/internal/images/reference"
	"thinctl/snapshots"
)

// Opened is an image whose layers can be read as tars: to be saved or pushed. It
// must be closed; until then nobody removes its layers.
type Opened struct {
	Record Image
	// Names are those by which it was asked for: all of its own where it was
	// asked for by id.
	Names []reference.Reference
	// Image has the layers, which are not compressed.
	Image v1.Image

	hold *snapshots.Chain
}

// Close lets go of the image's layers.
func (o *Opened) Close() error { return o.hold.Close() }

// Open makes an image ready to be read; a committed image's digests are computed
// first. Layers are written anew from their files, byte for byte as they were
// loaded; an error of a layer's reader says where they are not any more.
func (s *Store) Open(ctx context.Context, text string) (*Opened, error) {
	record, err := s.Digest(ctx, text)
	if err != nil {
		return nil, err
	}
	hold, err := s.hold(ctx, record)
	if err != nil {
		return nil, err
	}
	image, err := s.assemble(ctx, record)
	if err != nil {
		return nil, errors.Join(&Error{Op: "read", Object: record.String(), Err: err}, hold.Close())
	}
	return &Opened{Record: record, Names: askedBy(record, text), Image: image, hold: hold}, nil
}

func askedBy(image Image, text string) []reference.Reference {
	if name, err := reference.Parse(text); err == nil {
		for _, own := range image.Names {
			if own == name {
				return []reference.Reference{name}
			}
		}
	}
	return image.Names
}

func (s *Store) assemble(ctx context.Context, record Image) (v1.Image, error) {
	var layers []v1.Layer
	for _, id := range record.Layers {
		kept, err := s.layers.Layer(ctx, id)
		if err != nil {
			return nil, err
		}
		diff, err := v1.NewHash(kept.DiffID)
		if err != nil {
			return nil, err
		}
		blobs, err := s.blobs(ctx, kept.DiffID)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer{blobs: blobs, Layer: &manifest.Layer{
			ID:       diff,
			Blob:     manifest.Known(v1.Descriptor{MediaType: types.OCIUncompressedLayer, Digest: diff, Size: kept.TarSize}),
			Open:     func() (io.ReadCloser, error) { return s.read(ctx, kept), nil },
			Verified: true,
			Plain:    true,
		}})
	}
	return manifest.Assemble(record.Raw, layers)
}

// read gives a layer's tar, checked against its diff id.
func (s *Store) read(ctx context.Context, layer snapshots.Layer) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		sum := sha256.New()
		_, err := s.writeLayer(ctx, layer, io.MultiWriter(w, sum))
		if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); err == nil && got != layer.DiffID {
			err = &Error{Op: "read", Object: "layer " + short(layer.ID), Kind: ErrDigest,
				Detail: "its files give " + got + " and not " + layer.DiffID,
				Remedy: "they have been changed below thinctl, or lost: remove the image and load it anew"}
		}
		w.CloseWithError(err)
	}()
	return r
}

// writeLayer writes a layer's tar: of a loaded one the very bytes that were
// loaded, of a committed one the difference to what it was committed over.
func (s *Store) writeLayer(ctx context.Context, layer snapshots.Layer, w io.Writer) (layertar.Written, error) {
	split, err := os.Open(s.splitPath(layer.ID))
	if errors.Is(err, os.ErrNotExist) {
		return s.writeDifference(ctx, layer, w)
	}
	if err != nil {
		return layertar.Written{}, err
	}
	defer split.Close()
	view, err := s.layers.ViewLayer(ctx, layer.ID)
	if err != nil {
		return layertar.Written{}, err
	}
	return layertar.Written{}, errors.Join(layertar.Replay(ctx, view.Root, split, w, s.pool.LayersDir()), view.Close())
}

func (s *Store) writeDifference(ctx context.Context, layer snapshots.Layer, w io.Writer) (written layertar.Written, err error) {
	err = s.layers.WithTrees(ctx, layer.Below(), layer.Tree(), func(lower, upper string) error {
		written, err = layertar.Write(ctx, upper, difference(ctx, lower, upper, true), w, layertar.WriteOptions{})
		return err
	})
	return written, err
}

// difference walks two trees for package layertar; related are snapshots of one
// file system.
func difference(ctx context.Context, lower, upper string, related bool) layertar.Changes {
	return func(visit func(string, layertar.Kind) error) error {
		return changes.Walk(ctx, lower, upper, changes.Options{SameOrigin: related, Exact: true}, func(c changes.Change) error {
			return visit(c.Path, layertar.Kind(c.Kind))
		})
	}
}

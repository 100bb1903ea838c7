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
	"thinctl/internal/layers"
	"thinctl/snapshots"
)

// Opened is an image that can be saved or pushed: its layers can be read as tars. Its
// layers cannot be removed until it is closed.
type Opened struct {
	Record Image
	// Names is the name by which the image was opened, or all its names if it was opened by
	// its id.
	Names []reference.Reference
	// Image has uncompressed layers.
	Image v1.Image

	hold *layers.Chain
}

// Close releases the image's layers.
func (o *Opened) Close() error { return o.hold.Close() }

// Open opens an image for reading. It first computes the digests of a committed image.
// The tar of a loaded layer is the same, byte for byte, as the one that was loaded. If the
// files have changed, the layer's reader returns an error.
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

// read returns a layer's tar. The reader fails if the tar does not have the diff id.
func (s *Store) read(ctx context.Context, layer layers.Layer) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		sum := sha256.New()
		_, err := s.writeLayer(ctx, layer, io.MultiWriter(w, sum))
		if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); err == nil && got != layer.DiffID {
			err = &Error{Op: "read", Object: "layer " + short(layer.ID), Kind: ErrDigest,
				Detail: "the digest of its files is " + got + ", not " + layer.DiffID,
				Remedy: "the files were changed by another program, or lost: remove the image and load it again"}
		}
		w.CloseWithError(err)
	}()
	return r
}

// writeLayer writes a layer's tar: the bytes of a loaded layer's original tar, or the
// difference of a committed layer to its parent.
func (s *Store) writeLayer(ctx context.Context, layer layers.Layer, w io.Writer) (layertar.Written, error) {
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

func (s *Store) writeDifference(
	ctx context.Context, layer layers.Layer, w io.Writer,
) (written layertar.Written, err error) {
	err = s.layers.WithTrees(ctx, layer.Below(), layer.Tree(), true, func(t snapshots.Trees) error {
		written, err = layertar.Write(ctx, t.Upper, difference(ctx, t), w, layertar.WriteOptions{})
		return err
	})
	return written, err
}

// difference walks two trees for package layertar.
func difference(ctx context.Context, t snapshots.Trees) layertar.Changes {
	return func(visit func(string, layertar.Kind) error) error {
		return changes.Walk(ctx, t.Lower, t.Upper, t.Options(true), func(c changes.Change) error {
			return visit(c.Path, layertar.Kind(c.Kind))
		})
	}
}

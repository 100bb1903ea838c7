package images

import (
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"thinctl/fault"
	"thinctl/internal/images/manifest"
	"thinctl/internal/layers"
	"thinctl/thinpool"
)

// kindBlobs has, by diff id, the blobs of a layer that registries have. A push does not
// send a blob that the registry has.
const kindBlobs thinpool.DocumentKind = "blobs"

// maxBlobs is the number of blobs of a layer that are recorded, the newest first. Each
// compression of a layer makes another blob.
const maxBlobs = 4

// layer is a layer of an image that is saved or pushed.
type layer struct {
	*manifest.Layer
	blobs []v1.Descriptor
}

// Streamed makes package registry compress the layer while it is sent.
func (layer) Streamed() bool { return true }

// Remembered returns the blobs of the layer that registries have.
func (l layer) Remembered() []v1.Descriptor { return l.blobs }

func blobsOf(tx *thinpool.Tx, diffID string) ([]v1.Descriptor, error) {
	var blobs []v1.Descriptor
	err := tx.Get(kindBlobs, diffID, &blobs)
	if errors.Is(err, fault.NotFound) {
		err = nil
	}
	return blobs, err
}

func (s *Store) blobs(ctx context.Context, diffID string) (blobs []v1.Descriptor, err error) {
	err = s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		blobs, err = blobsOf(tx, diffID)
		return err
	})
	return blobs, err
}

// remember records a blob of a layer that a registry has.
func remember(tx *thinpool.Tx, diffID string, blob v1.Descriptor) error {
	if blob.Digest.String() == diffID {
		return nil // it is not compressed, and known by the diff id
	}
	switch {
	case blob.MediaType == manifest.DockerZstdLayer:
		blob.MediaType = types.OCILayerZStd // a push writes OCI's type
	case !blob.MediaType.IsLayer() || !blob.MediaType.IsDistributable():
		return nil // a push does not write such a type
	}
	blob = v1.Descriptor{MediaType: blob.MediaType, Digest: blob.Digest, Size: blob.Size}
	blobs, err := blobsOf(tx, diffID)
	if err != nil {
		return err
	}
	blobs = slices.DeleteFunc(blobs, func(d v1.Descriptor) bool { return d.Digest == blob.Digest })
	blobs = append([]v1.Descriptor{blob}, blobs...)
	return tx.Put(kindBlobs, diffID, blobs[:min(len(blobs), maxBlobs)])
}

// rememberAll records the blobs of the registry from which the image was loaded.
func (in *incoming) rememberAll(tx *thinpool.Tx) error {
	if in.options.Manifest == "" {
		return nil
	}
	for i, from := range in.layers {
		blob, err := describe(from)
		if err == nil {
			err = remember(tx, in.diffs[i], blob)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func describe(from v1.Layer) (blob v1.Descriptor, err error) {
	if blob.Digest, err = from.Digest(); err != nil {
		return blob, err
	}
	if blob.Size, err = from.Size(); err != nil {
		return blob, err
	}
	blob.MediaType, err = from.MediaType()
	return blob, err
}

// Pushed records the blobs, base first, of an image's layers after a push.
func (s *Store) Pushed(ctx context.Context, o *Opened, blobs []v1.Descriptor) error {
	layers, err := o.Image.Layers()
	if err != nil {
		return err
	}
	if len(layers) != len(blobs) {
		return &Error{Op: "push", Object: o.Record.String(), Kind: fault.Invalid,
			Detail: fmt.Sprintf("got %d blobs for %d layers", len(blobs), len(layers))}
	}
	return s.pool.Update(ctx, func(tx *thinpool.Tx) error {
		for i, layer := range layers {
			diff, err := layer.DiffID()
			if err == nil {
				err = remember(tx, diff.String(), blobs[i])
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// forgetBlobs drops the records of layers that no longer exist.
func (s *Store) forgetBlobs(ctx context.Context, layers []layers.Layer) error {
	exists := map[string]bool{}
	for _, layer := range layers {
		exists[layer.DiffID] = true
	}
	var gone []string
	err := s.pool.View(ctx, func(tx *thinpool.Tx) error {
		for entry, err := range thinpool.Documents[[]v1.Descriptor](tx, kindBlobs, "") {
			if err != nil {
				return err
			}
			if !exists[entry.Key] {
				gone = append(gone, entry.Key)
			}
		}
		return nil
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	return s.pool.Update(ctx, func(tx *thinpool.Tx) error {
		for _, diffID := range gone {
			if err := tx.Delete(kindBlobs, diffID); err != nil {
				return err
			}
		}
		return nil
	})
}

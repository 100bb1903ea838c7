package images

import (
	"context"
	"errors"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"thinctl/fault"
	"thinctl/internal/images/manifest"
	"thinctl/snapshots"
	"thinctl/thinpool"
)

// kindBlobs has, by diff id, the blobs that registries were seen to hold of a
// layer, so that one which has them is not sent them again.
const kindBlobs thinpool.DocumentKind = "blobs"

// maxBlobs of a layer are remembered, the newest first. There is one for each way
// that somebody has compressed it.
const maxBlobs = 4

// layer is a layer of an image that is to be saved or pushed.
type layer struct {
	*manifest.Layer
	blobs []v1.Descriptor
}

// Streamed tells package registry to compress the layer while it is sent.
func (layer) Streamed() bool { return true }

// Remembered are the blobs that need not be sent where they are.
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

// remember writes down which blob a registry has of a layer.
func remember(tx *thinpool.Tx, diffID string, blob v1.Descriptor) error {
	if blob.Digest.String() == diffID {
		return nil // not compressed: nobody would miss it
	}
	switch {
	case blob.MediaType == manifest.DockerZstdLayer:
		blob.MediaType = types.OCILayerZStd // as it is written, whatever was read
	case !blob.MediaType.IsLayer() || !blob.MediaType.IsDistributable():
		return nil // a manifest of ours does not name such a type
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

// rememberAll writes down what the registry had that the image came from.
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

// Pushed notes the blobs, base first, that a registry now has of the image's
// layers.
func (s *Store) Pushed(ctx context.Context, o *Opened, blobs []v1.Descriptor) error {
	layers, err := o.Image.Layers()
	if err != nil {
		return err
	}
	if len(layers) != len(blobs) {
		return &Error{Op: "push", Object: o.Record.String(), Kind: fault.Invalid, Detail: "the registry has another number of layers"}
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

// forgetBlobs drops what is remembered of layers that are not there any more.
func (s *Store) forgetBlobs(ctx context.Context, layers []snapshots.Layer) error {
	there := map[string]bool{}
	for _, layer := range layers {
		there[layer.DiffID] = true
	}
	var gone []string
	err := s.pool.View(ctx, func(tx *thinpool.Tx) error {
		for entry, err := range thinpool.Documents[[]v1.Descriptor](tx, kindBlobs, "") {
			if err != nil {
				return err
			}
			if !there[entry.Key] {
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

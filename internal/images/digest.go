package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"thinctl/fault"
	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/thinpool"
)

// Digest returns the image with its id. If a committed image has none yet, Digest computes
// the digests of its layers' tars, which are not stored, and records them.
func (s *Store) Digest(ctx context.Context, text string) (Image, error) {
	image, err := s.Image(ctx, text)
	if err != nil || image.ID != "" {
		return image, err
	}
	hold, err := s.hold(ctx, image)
	if err != nil {
		return image, err
	}
	defer hold.Close()
	var diffs []string
	for _, id := range image.Layers {
		layer, err := s.digested(ctx, id)
		if err != nil {
			return image, &Error{Op: "compute the digest of", Object: image.String(), Err: err}
		}
		diffs = append(diffs, layer.DiffID)
	}
	err = s.pool.Update(ctx, func(tx *thinpool.Tx) error {
		now, err := identify(tx, image.Key, diffs)
		if errors.Is(err, fault.NotFound) {
			return gone(image)
		}
		image = now
		return err
	})
	return image, errors.Join(err, hold.Close())
}

// hold keeps an image's layers from being removed until the chain is closed.
func (s *Store) hold(ctx context.Context, image Image) (*layers.Chain, error) {
	hold, err := s.layers.BeginChain(ctx, layers.ChainOptions{Layers: image.Layers})
	if err != nil {
		return nil, err
	}
	if hold.Have() < len(image.Layers) {
		return nil, errors.Join(gone(image), hold.Close())
	}
	return hold, nil
}

// gone returns the error for an image that was removed after it was found.
func gone(image Image) error {
	given := image.Shown()
	if len(image.Names) > 0 {
		given = image.Names[0].Familiar()
	}
	return &reference.Error{Given: given, Kind: reference.ErrNotFound, Detail: "it was removed in the meantime"}
}

// identify gives a committed image its id.
func identify(tx *thinpool.Tx, key string, diffs []string) (Image, error) {
	image, err := byKey(tx, key)
	if err != nil || image.ID != "" {
		return image, err
	}
	if image.Raw, err = withDiffIDs(image.Raw, diffs); err != nil {
		return image, err
	}
	sum := sha256.Sum256(image.Raw)
	image.ID = hex.EncodeToString(sum[:])
	if err := tx.Put(kindImages, key, image); err != nil {
		return image, err
	}
	var other Image
	if err := tx.Get(kindImages, image.ID, &other); errors.Is(err, fault.NotFound) {
		return image, tx.Put(kindIDs, image.ID, key)
	}
	return image, nil // the same image was loaded, and has the id as its key
}

// digested returns a layer with its digest. It computes and records the digest if it is
// not known yet.
func (s *Store) digested(ctx context.Context, id string) (layers.Layer, error) {
	layer, err := s.layers.Layer(ctx, id)
	if err != nil || layer.DiffID != "" {
		return layer, err
	}
	sum := sha256.New()
	written, err := s.writeLayer(ctx, layer, sum)
	if err != nil {
		return layer, err
	}
	layer.DiffID = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	return layer, s.layers.SetDigest(ctx, layer.ID, layers.Digest{
		DiffID: layer.DiffID, Size: written.Size, Entries: written.Entries, TarSize: written.TarSize,
	})
}

package manifest

import (
	"errors"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"thinctl/internal/images/compression"
)

// Layer is a v1.Layer of a blob that can be opened.
type Layer struct {
	// ID is the diff id.
	ID v1.Hash
	// Blob returns the descriptor of the blob.
	Blob func() (v1.Descriptor, error)
	// Open opens the blob. It can be called many times and concurrently.
	Open func() (io.ReadCloser, error)
	// Verified is set if Open's readers check size and digest themselves, or if Blob has
	// computed them from the blob.
	Verified bool
	// Plain is set if the blob is an uncompressed tar.
	Plain bool
	// Name adds operation and object to an error.
	Name func(error) error
}

var _ v1.Layer = (*Layer)(nil)

// OpenStored opens a layer's blob as it is stored, for a caller that verifies the diff id
// of the tar. An uncompressed blob of a [Layer] is not verified again by its digest, which
// is the diff id.
func OpenStored(layer v1.Layer) (io.ReadCloser, error) {
	if l, ok := layer.(embedding); ok && l.self().Plain {
		return l.self().Open()
	}
	return layer.Compressed()
}

// embedding is implemented by *Layer and by types that embed it.
type embedding interface{ self() *Layer }

func (l *Layer) self() *Layer { return l }

// Known returns a Blob for a descriptor that is known beforehand.
func Known(d v1.Descriptor) func() (v1.Descriptor, error) {
	return func() (v1.Descriptor, error) { return d, nil }
}

// Digest implements v1.Layer.
func (l *Layer) Digest() (v1.Hash, error) {
	d, err := l.Blob()
	return d.Digest, err
}

// DiffID implements v1.Layer.
func (l *Layer) DiffID() (v1.Hash, error) { return l.ID, nil }

// Size implements v1.Layer. It returns the size of the blob.
func (l *Layer) Size() (int64, error) {
	d, err := l.Blob()
	return d.Size, err
}

// MediaType implements v1.Layer.
func (l *Layer) MediaType() (types.MediaType, error) {
	d, err := l.Blob()
	return d.MediaType, err
}

// UncompressedSize returns the size of the tar, or -1 if it is not known without reading
// the blob.
func (l *Layer) UncompressedSize() (int64, error) {
	if !l.Plain {
		return -1, nil
	}
	return l.Size()
}

// Compressed implements v1.Layer. It returns the blob, verified while it is read.
func (l *Layer) Compressed() (io.ReadCloser, error) {
	blob, err := l.Open()
	if err != nil || l.Verified {
		return blob, err
	}
	d, err := l.Blob()
	if err != nil {
		return nil, errors.Join(err, blob.Close())
	}
	return Verify(blob, d.Digest, d.Size, l.Name), nil
}

// Uncompressed implements v1.Layer. It returns the tar, verified by the blob's digest and
// by the diff id.
func (l *Layer) Uncompressed() (io.ReadCloser, error) {
	blob, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	tar, err := Decompress(blob, compression.Options{}, l.Name)
	if err != nil {
		return nil, errors.Join(err, blob.Close())
	}
	if d, err := l.Blob(); err == nil && l.Plain && d.Digest == l.ID {
		return tar, nil
	}
	return Verify(tar, l.ID, -1, l.Name), nil
}

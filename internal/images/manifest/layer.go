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
	// Blob describes what Open gives.
	Blob func() (v1.Descriptor, error)
	// Open opens the blob, any number of times and in parallel.
	Open func() (io.ReadCloser, error)
	// Verified says that Open's readers check size and digest themselves, or
	// that Blob was found by reading.
	Verified bool
	// Plain says that the blob is an uncompressed tar.
	Plain bool
	// Name gives errors their operation and object.
	Name func(error) error
}

var _ v1.Layer = (*Layer)(nil)

// Known is a Blob that is known beforehand.
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

// Size implements v1.Layer: the blob's.
func (l *Layer) Size() (int64, error) {
	d, err := l.Blob()
	return d.Size, err
}

// MediaType implements v1.Layer.
func (l *Layer) MediaType() (types.MediaType, error) {
	d, err := l.Blob()
	return d.MediaType, err
}

// UncompressedSize is the tar's size, or -1 where only reading would tell.
func (l *Layer) UncompressedSize() (int64, error) {
	if !l.Plain {
		return -1, nil
	}
	return l.Size()
}

// IsPlain tells whether the blob is an uncompressed tar.
func (l *Layer) IsPlain() bool { return l.Plain }

// Raw is the blob unchecked.
func (l *Layer) Raw() (io.ReadCloser, error) { return l.Open() }

// Compressed implements v1.Layer: the blob, checked.
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

// Uncompressed implements v1.Layer: the tar, checked by blob and by diff id.
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

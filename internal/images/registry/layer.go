package registry

import (
	"context"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/internal/images/manifest"
)

// layer is a layer in a registry.
type layer struct {
	manifest.Layer
	c *client
	d v1.Descriptor
}

func newLayer(ctx context.Context, c *client, d v1.Descriptor, id v1.Hash) *layer {
	l := &layer{c: c, d: d}
	l.Layer = manifest.Layer{
		ID: id, Blob: manifest.Known(d), Verified: true,
		Open: func() (io.ReadCloser, error) { return c.blob(ctx, d), nil },
		Name: func(err error) error { return c.named(d.Digest.String(), err) },
	}
	return l
}

// CompressedContext is Compressed with another context.
func (l *layer) CompressedContext(ctx context.Context) (io.ReadCloser, error) {
	return l.c.blob(ctx, l.d), nil
}

// Source returns the repository of the layer.
func (l *layer) Source() name.Repository { return l.c.repository }

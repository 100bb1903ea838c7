package registry

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/internal/images/manifest"
)

// Image is a pulled image. Its layers are fetched when they are read.
type Image struct {
	v1.Image
	// Named is the digest of the manifest, or of the index from which it was chosen. Docker
	// shows it as the image's digest.
	Named v1.Hash
}

// Pull reads and verifies an image's manifest and config. The context must not end before
// the layers were read.
func Pull(ctx context.Context, ref name.Reference, o Options) (*Image, error) {
	c, err := newClient(ctx, "pull", ref, transport.PullScope, o)
	if err != nil {
		return nil, err
	}
	want := v1.Descriptor{Size: -1}
	if digested, ok := ref.(name.Digest); ok {
		if want.Digest, err = v1.NewHash(digested.DigestStr()); err != nil {
			return nil, c.named("", &Error{Kind: fault.Invalid, Err: err})
		}
	}
	source := &source{ctx: ctx, c: c}
	read, err := source.read(ref.Identifier(), want)
	if err != nil {
		return nil, c.named("", err)
	}
	finder := manifest.Finder{Source: source, Platform: c.o.Platform, Warn: c.o.Warn}
	found, err := finder.Image(read)
	if err != nil {
		return nil, c.named("", err)
	}
	layers := make([]v1.Layer, len(found.Manifest.Layers))
	for i, d := range found.Manifest.Layers {
		layers[i] = newLayer(ctx, c, d, found.Config.RootFS.DiffIDs[i])
	}
	image, err := manifest.New(found, layers)
	if err != nil {
		return nil, c.named("", err)
	}
	return &Image{Image: image, Named: read.Digest}, nil
}

// source reads manifests and configs from the registry.
type source struct {
	ctx context.Context
	c   *client
}

var _ manifest.Source = (*source)(nil)

// Manifest implements manifest.Source.
func (s *source) Manifest(d v1.Descriptor) (manifest.Read, error) {
	return s.read(d.Digest.String(), d)
}

// Config implements manifest.Source.
func (s *source) Config(d v1.Descriptor) ([]byte, error) {
	blob := s.c.blob(s.ctx, d)
	raw, err := io.ReadAll(blob)
	return raw, errors.Join(err, blob.Close())
}

// Part implements manifest.Source.
func (s *source) Part(d v1.Descriptor) string { return d.Digest.String() }

// read fetches a manifest or index. want has the expected digest and size, if known.
func (s *source) read(id string, want v1.Descriptor) (got manifest.Read, err error) {
	for failures := 1; ; failures++ {
		got, err = s.readOnce(id, want)
		if err == nil || permanent(err) || failures >= s.c.o.Tries {
			return got, err
		}
		if err := contexts.Sleep(s.ctx, s.c.o.pause(failures)); err != nil {
			return got, err
		}
	}
}

// accepted lists the media types in requests. Any other type is accepted, too, because an
// error about it is clearer than "not found".
var accepted = strings.Join([]string{
	string(types.DockerManifestSchema2), string(types.OCIManifestSchema1),
	string(types.DockerManifestList), string(types.OCIImageIndex), "*/*",
}, ", ")

func (s *source) readOnce(id string, want v1.Descriptor) (got manifest.Read, err error) {
	request, err := s.c.request(s.ctx, http.MethodGet, "manifests", id)
	if err != nil {
		return got, err
	}
	request.Header.Set("Accept", accepted)
	response, err := s.c.do(request)
	if err != nil {
		return got, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return got, check(response)
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, manifest.JSONLimit+1))
	switch {
	case err != nil:
		return got, err
	case len(raw) > manifest.JSONLimit:
		return got, manifest.Errorf(manifest.ErrTooLarge, "a manifest of more than %d bytes", manifest.JSONLimit)
	case isWebPage(raw):
		return got, webPage(response, raw)
	case want.Size == 0:
		s.c.o.Warn.Add(want.Digest.String(), "the index names no size; only the digest is checked")
	case want.Size > 0 && int64(len(raw)) != want.Size:
		return got, manifest.Errorf(
			manifest.ErrSize, "the registry sent %d bytes, the index says %d", len(raw), want.Size,
		)
	}
	if want.Digest.Hex != "" {
		checked := manifest.Verify(io.NopCloser(bytes.NewReader(raw)), want.Digest, -1, nil)
		if _, err := io.Copy(io.Discard, checked); err != nil {
			return got, err
		}
	}
	got = manifest.Read{Raw: raw, Descriptor: manifest.Descriptor(s.declared(response, want), raw)}
	got.Digest = cmp.Or(want.Digest, got.Digest)
	s.checkHeader(response, got)
	return got, nil
}

// declared returns the media type in the reply, or in the index if the reply has none.
func (s *source) declared(response *http.Response, want v1.Descriptor) types.MediaType {
	header, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	return cmp.Or(types.MediaType(strings.TrimSpace(header)), want.MediaType)
}

// checkHeader adds a warning for a reply whose header has another digest than its body.
// Docker ignores the header.
func (s *source) checkHeader(response *http.Response, got manifest.Read) {
	header := response.Header.Get("Docker-Content-Digest")
	digest, err := v1.NewHash(header)
	if err == nil && digest.Algorithm == got.Digest.Algorithm && digest != got.Digest {
		s.c.o.Warn.Add(got.Digest.String(), "the registry gives it the digest %s", digest)
	}
}

package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"thinctl/images/manifest"
)

// Image is a pulled image. Its layers are fetched when they are read.
type Image struct {
	v1.Image
	// Named is the digest of what the name stood for: the manifest's, or that
	// of the index which it was chosen from. Docker shows it as the image's
	// digest.
	Named v1.Hash
}

// maxDepth is how deep indexes may be nested.
const maxDepth = 4

// Pull reads an image's manifest and config, checked. The context must last
// until its layers have been read.
func Pull(ctx context.Context, ref name.Reference, o Options) (*Image, error) {
	c, err := newClient(ctx, "pull", ref, transport.PullScope, o)
	if err != nil {
		return nil, err
	}
	want := v1.Descriptor{Size: -1}
	if digested, ok := ref.(name.Digest); ok {
		if want.Digest, err = v1.NewHash(digested.DigestStr()); err != nil {
			return nil, c.named("", &Error{Kind: manifest.ErrInvalid, Err: err})
		}
	}
	got, err := c.manifest(ctx, ref.Identifier(), want)
	if err != nil {
		return nil, c.named("", err)
	}
	pulled := &Image{Named: cmp.Or(want.Digest, manifest.Digest(got.raw))}
	if got, err = c.choose(ctx, got); err != nil {
		return nil, c.named("", err)
	}
	if pulled.Image, err = c.image(ctx, got.raw); err != nil {
		return nil, c.named("", err)
	}
	return pulled, nil
}

type fetchedManifest struct {
	raw       []byte
	mediaType types.MediaType
}

// choose goes from an index to the manifest for the platform.
func (c *client) choose(ctx context.Context, got fetchedManifest) (fetchedManifest, error) {
	for depth := 0; got.mediaType.IsIndex(); depth++ {
		if depth == maxDepth {
			return got, manifest.Errorf(manifest.ErrFormat, "indexes are nested more than %d deep", maxDepth)
		}
		index, err := manifest.ParseIndex(got.raw)
		if err != nil {
			return got, err
		}
		d, err := manifest.Choose(index.Manifests, c.o.Platform)
		if err != nil {
			return got, err
		}
		if got, err = c.manifest(ctx, d.Digest.String(), d); err != nil {
			return got, manifest.In("", "", d.Digest.String(), err)
		}
	}
	if !got.mediaType.IsImage() && !got.mediaType.IsSchema1() {
		return got, manifest.Errorf(manifest.ErrMediaType, "%q is not an image", got.mediaType)
	}
	return got, nil
}

func (c *client) image(ctx context.Context, raw []byte) (v1.Image, error) {
	m, err := manifest.Parse(raw)
	if err != nil {
		return nil, err
	}
	part := m.Config.Digest.String()
	if m.Config.Size > manifest.JSONLimit {
		e := manifest.Errorf(manifest.ErrTooLarge, "a config of %d bytes, where at most %d are read", m.Config.Size, manifest.JSONLimit)
		return nil, manifest.In("", "", part, e)
	}
	blob := c.blob(ctx, m.Config)
	rawConfig, err := io.ReadAll(blob)
	if err = errors.Join(err, blob.Close()); err != nil {
		return nil, manifest.In("", "", part, err)
	}
	config, err := manifest.ParseConfig(rawConfig)
	if err != nil {
		return nil, manifest.In("", "", part, err)
	}
	if err := manifest.CheckCount(len(m.Layers), config); err != nil {
		return nil, err
	}
	layers := make([]v1.Layer, len(m.Layers))
	for i, d := range m.Layers {
		layers[i] = newLayer(ctx, c, d, config.RootFS.DiffIDs[i])
	}
	return manifest.New(raw, rawConfig, layers)
}

// manifest fetches a manifest or index; want has the digest and size that were
// promised, where they were.
func (c *client) manifest(ctx context.Context, id string, want v1.Descriptor) (got fetchedManifest, err error) {
	for failures := 1; ; failures++ {
		got, err = c.manifestOnce(ctx, id, want)
		if err == nil || final(err) || failures >= c.o.Tries {
			return got, err
		}
		if err := sleep(ctx, c.o.pause(failures)); err != nil {
			return got, err
		}
	}
}

func (c *client) manifestOnce(ctx context.Context, id string, want v1.Descriptor) (fetchedManifest, error) {
	request, err := c.request(ctx, http.MethodGet, "manifests", id)
	if err != nil {
		return fetchedManifest{}, err
	}
	request.Header.Set("Accept", strings.Join([]string{
		string(types.DockerManifestSchema2), string(types.OCIManifestSchema1),
		string(types.DockerManifestList), string(types.OCIImageIndex),
	}, ", "))
	response, err := c.do(request)
	if err != nil {
		return fetchedManifest{}, err
	}
	defer response.Body.Close()
	if err := transport.CheckError(response, http.StatusOK); err != nil {
		return fetchedManifest{}, explain(err)
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, manifest.JSONLimit+1))
	switch {
	case err != nil:
		return fetchedManifest{}, err
	case len(raw) > manifest.JSONLimit:
		return fetchedManifest{}, manifest.Errorf(manifest.ErrTooLarge, "a manifest of more than %d bytes", manifest.JSONLimit)
	case want.Size >= 0 && int64(len(raw)) != want.Size:
		return fetchedManifest{}, manifest.Errorf(manifest.ErrSize, "the registry sent %d bytes, the index says %d", len(raw), want.Size)
	}
	if want.Digest.Hex != "" {
		checked := manifest.Verify(io.NopCloser(strings.NewReader(string(raw))), want.Digest, -1, nil)
		if _, err := io.Copy(io.Discard, checked); err != nil {
			return fetchedManifest{}, err
		}
	}
	return fetchedManifest{raw, mediaTypeOf(raw, response)}, nil
}

// mediaTypeOf believes the manifest itself before the answer's header, which
// some registries fill in badly.
func mediaTypeOf(raw []byte, response *http.Response) types.MediaType {
	var m struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     types.MediaType `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Layers        json.RawMessage `json:"layers"`
	}
	if err := json.Unmarshal(raw, &m); err == nil {
		switch {
		case m.SchemaVersion == 1:
			return types.DockerManifestSchema1
		case m.MediaType != "":
			return m.MediaType
		case m.Manifests != nil && m.Layers == nil:
			return types.OCIImageIndex
		case m.Layers != nil:
			return types.OCIManifestSchema1
		}
	}
	header, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	return types.MediaType(strings.TrimSpace(header))
}

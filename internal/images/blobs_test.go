package images_test

import (
	"io"
	"log"
	"net/http/httptest"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	gcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"thinctl/internal/images"
	"thinctl/internal/images/manifest"
	"thinctl/internal/images/registry"
)

// A layer that was pushed is not sent to the repository again. A layer that was pulled is
// not sent back.
func TestPushRemembersBlobs(t *testing.T) {
	b := newFixture(t)
	one, _ := seeds(t)
	_, err := b.load(b.s, dockerArchive(t, one))
	b.check(err)
	server := httptest.NewServer(gcr.New())
	defer server.Close()
	ref, err := name.ParseReference(server.Listener.Addr().String() + "/team/one:1")
	b.check(err)
	push := func(s *images.Store) (sent int, blobs []v1.Descriptor) {
		opened, err := s.Open(b.ctx, one.ID)
		b.check(err)
		pushed, err := registry.Push(b.ctx, ref, opened.Image, registry.Options{Progress: func(p registry.Progress) {
			if p.Ended && !p.Had {
				sent++
			}
		}})
		b.check(err)
		b.check(s.Pushed(b.ctx, opened, pushed.Layers))
		b.check(opened.Close())
		return sent, pushed.Layers
	}
	sent, first := push(b.s)
	if sent == 0 || first[1].Digest.String() == one.DiffIDs()[1] {
		t.Errorf("first push: got %d layers sent, the second as %s", sent, first[1].Digest)
	}
	b.check(b.s.Recover(b.ctx)) // keeps the recorded blobs of present layers
	if sent, again := push(b.s); sent != 0 || again[1].Digest != first[1].Digest {
		t.Errorf("second push: got %d layers sent, want none", sent)
	}

	other := newFixture(t)
	pulled, err := registry.Pull(b.ctx, ref, registry.Options{})
	other.check(err)
	image, err := other.s.Load(b.ctx, pulled, images.LoadOptions{Manifest: pulled.Named.String()})
	other.check(err)
	if image.ID != one.ID {
		t.Errorf("pulled image: got id %s, want %s", image.ID, one.ID)
	}
	if sent, back := push(other.s); sent != 0 || back[1].Digest != first[1].Digest {
		t.Errorf("push to the registry of the pull: got %d layers sent, want none", sent)
	}
	_, err = other.s.Remove(b.ctx, []string{image.ID}, images.RemoveOptions{})
	other.check(err)
	other.check(other.s.Recover(b.ctx))
	other.agrees(other.s)
}

// retyped is an image whose layers have another media type.
type retyped struct {
	v1.Image
	mediaType types.MediaType
}

func (r retyped) Layers() ([]v1.Layer, error) {
	layers, err := r.Image.Layers()
	for i, layer := range layers {
		layers[i] = retypedLayer{layer, r.mediaType}
	}
	return layers, err
}

type retypedLayer struct {
	v1.Layer
	mediaType types.MediaType
}

func (r retypedLayer) MediaType() (types.MediaType, error) { return r.mediaType, nil }

// Media types that were accepted are not written again.
func TestPushWritesUsualMediaTypes(t *testing.T) {
	server := httptest.NewServer(gcr.New(gcr.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref, err := name.NewTag(server.Listener.Addr().String() + "/flat:1")
	if err != nil {
		t.Fatal(err)
	}
	push := func(b *fixture, image images.Image) []v1.Descriptor {
		opened, err := b.s.Open(b.ctx, image.ID)
		b.check(err)
		pushed, err := registry.Push(b.ctx, ref, opened.Image, registry.Options{}) // compresses
		b.check(err)
		b.check(opened.Close())
		return pushed.Layers
	}
	b := newFixture(t)
	loaded, err := b.s.Load(b.ctx, knownFlat(t).Image, images.LoadOptions{})
	b.check(err)
	push(b, loaded)
	for from, want := range map[types.MediaType]types.MediaType{
		"":                         types.DockerLayer,
		"application/octet-stream": types.DockerLayer,
		types.DockerForeignLayer:   types.DockerLayer,
		manifest.DockerZstdLayer:   types.OCILayerZStd,
		types.OCILayer:             types.OCILayer,
	} {
		pulled, err := registry.Pull(b.ctx, ref, registry.Options{})
		b.check(err)
		other := newFixture(t)
		image, err := other.s.Load(b.ctx, retyped{pulled, from}, images.LoadOptions{Manifest: pulled.Named.String()})
		b.check(err)
		if got := push(other, image)[0].MediaType; got != want {
			t.Errorf("a layer of the type %q: got it pushed as %q, want %q", from, got, want)
		}
	}
}

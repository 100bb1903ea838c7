package registry_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"thinctl/fault"
	"thinctl/internal/images/manifest"
	"thinctl/internal/images/registry"
)

// streamedImage returns the image with layers that exist only as tars.
func streamedImage(t testing.TB, image v1.Image) (plainImage, []*plain) {
	t.Helper()
	p := plainImage{Image: image}
	var layers []*plain
	for _, layer := range must(image.Layers()) {
		l := &plain{Layer: layer}
		layers, p.layers = append(layers, l), append(p.layers, l)
	}
	return p, layers
}

func TestPushStreamed(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 50_000, 3)
	streamed, layers := streamedImage(t, image)
	ref := s.ref("app:1")
	last := map[int]registry.Progress{}
	o := quick()
	o.Progress = func(p registry.Progress) { last[p.Layer] = p }
	pushed, err := registry.Push(t.Context(), ref, streamed, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range layers {
		if l.opened != 1 {
			t.Errorf("layer %d: got compressed %d times, want once", i, l.opened)
		}
		if p := last[i]; !p.Ended || p.Had || p.Done == 0 {
			t.Errorf("layer %d: got progress %+v, want it sent and ended", i, p)
		}
	}
	got := pulled(t, ref)
	if err := validate.Image(got); err != nil {
		t.Error(err)
	}
	if must(got.ConfigName()) != must(image.ConfigName()) || must(got.Digest()) != pushed.Digest || must(got.Size()) != pushed.Size {
		t.Errorf("got another image, want the pushed %+v", pushed)
	}

	// A push with the blobs of the first one compresses and sends nothing.
	for i, l := range layers {
		l.known = []v1.Descriptor{{Digest: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}, Size: 1}, pushed.Layers[i]}
	}
	s.spoilWith(nil)
	again, err := registry.Push(t.Context(), s.ref("app:2"), streamed, o)
	if err != nil {
		t.Fatal(err)
	}
	if again.Digest != pushed.Digest || layers[0].opened != 1 || s.asked("PATCH") != 0 || !last[0].Had {
		t.Errorf("second push: got %s, compressed %d times, %d blobs sent, %+v; want %s, once, none, and a present layer",
			again.Digest, layers[0].opened, s.asked("PATCH"), last[0], pushed.Digest)
	}
}

func TestPushStreamedOfAnotherDiffID(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 5_000, 1)
	streamed, layers := streamedImage(t, image)
	layers[0].Layer = differing{layers[0].Layer, must(randomImage(t, 5_000, 1).Layers())[0]}
	_, err := registry.Push(t.Context(), s.ref("app:1"), streamed, quick())
	checkError(t, err, manifest.ErrDigest, must(must(image.Layers())[0].DiffID()).String())
	if n := s.asked("PUT /v2/app/manifests/"); n > 0 {
		t.Errorf("got %d uploads of the manifest, want none", n)
	}
}

// differing is a layer whose tar does not have its diff id.
type differing struct {
	v1.Layer
	tar v1.Layer
}

func (d differing) Uncompressed() (io.ReadCloser, error) { return d.tar.Uncompressed() }

func TestPushSkipsPresentBlobs(t *testing.T) {
	s := newServer(t)
	base := randomImage(t, 20_000, 3)
	s.has("app:base", base)
	image, err := mutate.AppendLayers(base, must(randomImage(t, 20_000, 1).Layers())...)
	if err != nil {
		t.Fatal(err)
	}
	s.spoilWith(nil)
	s.has("app:1", image)
	if n := s.asked("PATCH"); n != 2 { // a layer and the config
		t.Errorf("got %d blobs sent, want 2: %q", n, s.requests)
	}
	// From one repository to another of the same registry they are mounted.
	mounted := 0
	s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
		query := r.URL.Query()
		switch {
		case r.Method == http.MethodHead && strings.HasPrefix(r.URL.Path, "/v2/other/blobs/"):
			w.WriteHeader(http.StatusNotFound)
			return true
		case r.Method == http.MethodPost && query.Get("mount") != "" && query.Get("from") == "app":
			s.mu.Lock()
			mounted++
			s.mu.Unlock()
			w.WriteHeader(http.StatusCreated)
			return true
		}
		return false
	})
	if _, err := registry.Push(t.Context(), s.ref("other:1"), pulled(t, s.ref("app:1")), quick()); err != nil {
		t.Fatal(err)
	}
	if mounted != 4 {
		t.Errorf("got %d layers mounted, want 4: %q", mounted, s.requests)
	}
	if err := validate.Image(pulled(t, s.ref("other:1"))); err != nil {
		t.Error(err)
	}
}

func TestPushContinues(t *testing.T) {
	image := randomImage(t, 300_000, 2)
	for name, spoil := range map[string]func(n int, w http.ResponseWriter, r *http.Request) bool{
		"breaks off in an upload": func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				_, _ = r.Body.Read(make([]byte, 1000))
				panic(http.ErrAbortHandler)
			}
			return false
		},
		"takes nothing": func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n <= 2 {
				// Longer than Options.Stall. The body is not read, so that the server
				// does not notice that the client closes the connection.
				time.Sleep(2 * time.Second)
				panic(http.ErrAbortHandler)
			}
			return false
		},
		"fails": func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n <= 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return n <= 2
		},
	} {
		for _, streaming := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				s := newServer(t)
				n := 0
				s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method != http.MethodPatch {
						return false
					}
					s.mu.Lock()
					n++
					try := n
					s.mu.Unlock()
					return spoil(try, w, r)
				})
				send := image
				if streaming {
					send, _ = streamedImage(t, image)
				}
				if _, err := registry.Push(t.Context(), s.ref("app:1"), send, quick()); err != nil {
					t.Fatal(err)
				}
				if n <= 3 {
					t.Errorf("got %d uploads, want more than 3", n)
				}
				if got := pulled(t, s.ref("app:1")); must(got.ConfigName()) != must(image.ConfigName()) {
					t.Error("got another image, want the pushed one")
				}
			})
		}
	}
}

func TestPushRefused(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 1000, 1)
	s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"errors":[{"code":"DENIED","message":"not yours"}]}`))
		return true
	})
	begin := time.Now()
	_, err := registry.Push(t.Context(), s.ref("app:1"), image, quick())
	checkError(t, err, registry.ErrDenied, "push", "not yours", "docker login")
	if took := time.Since(begin); took > 2*time.Minute {
		t.Errorf("got a wait of %v, want at most 2 minutes", took)
	}
	_, err = registry.Push(t.Context(), s.ref("app:1").Context().Digest(must(image.Digest()).String()), image, quick())
	checkError(t, err, fault.Invalid, "by a tag")
}

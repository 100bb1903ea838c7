package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	theirs "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"thinctl/internal/images/registry"
)

// server is a registry on this host. A test can replace its replies.
type server struct {
	t       *testing.T
	http    *httptest.Server
	backend http.Handler

	mu       sync.Mutex
	requests []string
	spoil    func(w http.ResponseWriter, r *http.Request) bool // true if it has replied
}

func newServer(t *testing.T) *server {
	s := &server{t: t, backend: theirs.New(theirs.Logger(log.New(io.Discard, "", 0)))}
	s.http = httptest.NewServer(s)
	t.Cleanup(s.http.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
	spoil := s.spoil
	s.mu.Unlock()
	if spoil != nil && spoil(w, r) {
		return
	}
	s.backend.ServeHTTP(w, r)
}

func (s *server) spoilWith(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil, s.requests = f, nil
}

// asked returns the number of requests that begin with prefix.
func (s *server) asked(prefix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, request := range s.requests {
		if strings.HasPrefix(request, prefix) {
			n++
		}
	}
	return n
}

func (s *server) ref(repository string) name.Tag {
	s.t.Helper()
	ref, err := name.NewTag(strings.TrimPrefix(s.http.URL, "http://") + "/" + repository)
	if err != nil {
		s.t.Fatal(err)
	}
	return ref
}

// has puts an image into the registry.
func (s *server) has(repository string, image v1.Image) name.Tag {
	s.t.Helper()
	ref := s.ref(repository)
	if _, err := registry.Push(s.t.Context(), ref, image, quick()); err != nil {
		s.t.Fatal(err)
	}
	return ref
}

// spoilBlob lets answer reply to the requests for a blob; n counts them from 1.
func (s *server) spoilBlob(digest v1.Hash, answer func(n int, w http.ResponseWriter, r *http.Request) bool) {
	n := 0
	s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/blobs/"+digest.String()) {
			return false
		}
		s.mu.Lock()
		n++
		try := n
		s.mu.Unlock()
		return answer(try, w, r)
	})
}

// quick returns options with short waits.
func quick() registry.Options {
	return registry.Options{
		Stall: 300 * time.Millisecond, Wait: time.Millisecond,
		Platform: v1.Platform{OS: "linux", Architecture: "amd64"},
	}
}

func randomImage(t testing.TB, size, layers int64) v1.Image {
	t.Helper()
	image, err := random.Image(size, layers)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", "amd64"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

func pulled(t testing.TB, ref name.Reference) *registry.Image {
	t.Helper()
	image, err := registry.Pull(t.Context(), ref, quick())
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// blobOf returns a layer's blob.
func blobOf(t testing.TB, layer v1.Layer) []byte {
	t.Helper()
	raw, err := readLayer(layer)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func readLayer(layer v1.Layer) ([]byte, error) {
	r, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(r)
	return raw, errors.Join(err, r.Close())
}

// sendPart replies with a blob up to the offset stop. With useRange, it starts where the
// Range header requests.
func sendPart(w http.ResponseWriter, r *http.Request, blob []byte, useRange bool, stop int) {
	begin := 0
	var end int
	if useRange {
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &begin, &end); err == nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", begin, len(blob)-1, len(blob)))
			w.Header().Set("Content-Length", fmt.Sprint(len(blob)-begin))
			w.WriteHeader(http.StatusPartialContent)
		}
	}
	if w.Header().Get("Content-Range") == "" {
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
	}
	if stop > begin {
		_, _ = w.Write(blob[begin:min(stop, len(blob))])
	}
	_ = http.NewResponseController(w).Flush()
	if stop < len(blob) {
		panic(http.ErrAbortHandler)
	}
}

// hang sends the first bytes, and then nothing until the client closes the connection.
func hang(w http.ResponseWriter, r *http.Request, blob []byte, stop int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
	_, _ = w.Write(blob[:stop])
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// plain is a layer that exists as a tar only.
type plain struct {
	v1.Layer
	known  []v1.Descriptor
	opened int
}

func (p *plain) Streamed() bool              { return true }
func (p *plain) Remembered() []v1.Descriptor { return p.known }
func (p *plain) Digest() (v1.Hash, error)    { return v1.Hash{}, errors.New("not known yet") }
func (p *plain) Size() (int64, error)        { return 0, errors.New("not known yet") }
func (p *plain) Compressed() (io.ReadCloser, error) {
	return nil, errors.New("only uncompressed")
}

func (p *plain) Uncompressed() (io.ReadCloser, error) {
	p.opened++
	return p.Layer.Uncompressed()
}

// plainImage is an image with plain layers.
type plainImage struct {
	v1.Image
	layers []v1.Layer
}

func (p plainImage) Layers() ([]v1.Layer, error) { return p.layers, nil }

func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func equal(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got %d bytes, want %d, or the bytes differ", what, len(got), len(want))
	}
}

package registry_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"thinctl/internal/images/manifest"
	"thinctl/internal/images/registry"
)

func fetched(t testing.TB, image v1.Image, o registry.FetchOptions) *registry.Fetched {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	f, err := registry.Fetch(t.Context(), image, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
			t.Errorf("names of temporary files: got %v, %v; want none", left, err)
		}
	})
	return f
}

func TestFetch(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 200_000, 6)
	image, err := mutate.AppendLayers(image, must(image.Layers())[1]) // one layer twice
	if err != nil {
		t.Fatal(err)
	}
	ref := s.has("app", image)
	for name, o := range map[string]registry.FetchOptions{
		"usual": {}, "one at a time": {Parallel: 1}, "no space": {Disk: 1}, "little space": {Disk: 450_000, Parallel: 8},
	} {
		t.Run(name, func(t *testing.T) {
			s.spoilWith(nil)
			last := map[int]registry.Progress{}
			o.Progress = func(p registry.Progress) {
				if p.Done < last[p.Layer].Done || p.Done > p.Total {
					t.Errorf("layer %d: got progress %d after %d, want it to grow up to %d", p.Layer, p.Done, last[p.Layer].Done, p.Total)
				}
				last[p.Layer] = p
			}
			f := fetched(t, pulled(t, ref), o)
			for i, layer := range must(f.Layers()) {
				got, err := readLayer(layer)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, name, got, blobOf(t, must(image.Layers())[i]))
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			for i, p := range last {
				if !p.Ended || p.Done != p.Total {
					t.Errorf("layer %d: got progress %+v, want it ended at %d", i, p, p.Total)
				}
			}
			if n := s.asked("GET /v2/app/blobs/"); n > 1+7 { // the config, and each layer once
				t.Errorf("got %d requests for blobs, want at most 8: %q", n, s.requests)
			}
		})
	}
	t.Run("whole image", func(t *testing.T) {
		if err := validate.Image(fetched(t, pulled(t, ref), registry.FetchOptions{})); err != nil {
			t.Error(err)
		}
	})
	t.Run("skipping", func(t *testing.T) {
		s.spoilWith(nil)
		f := fetched(t, pulled(t, ref), registry.FetchOptions{Skip: 6})
		got, err := readLayer(must(f.Layers())[6])
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "last", got, blobOf(t, must(image.Layers())[6]))
		if n := s.asked("GET /v2/app/blobs/"); n != 2 {
			t.Errorf("got %d requests for blobs, want 2", n)
		}
	})
	t.Run("without a reader", func(t *testing.T) {
		if err := fetched(t, pulled(t, ref), registry.FetchOptions{Disk: 1}).Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("backwards", func(t *testing.T) {
		layers := must(fetched(t, pulled(t, ref), registry.FetchOptions{Disk: 1, Parallel: 1}).Layers())
		for i := len(layers) - 1; i >= 0; i-- {
			if _, err := readLayer(layers[i]); err != nil {
				t.Errorf("layer %d: %v", i, err)
			}
		}
	})
}

// A layer is read during its transfer, and other layers are transferred concurrently.
func TestFetchOverlaps(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 100_000, 3)
	ref := s.has("app", image)
	layers := must(image.Layers())
	first, digest := blobOf(t, layers[0]), must(layers[0].Digest())
	goOn := make(chan struct{})
	var asked sync.WaitGroup
	asked.Add(3)
	s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
		for _, layer := range layers {
			if strings.HasSuffix(r.URL.Path, must(layer.Digest()).String()) {
				asked.Done()
			}
		}
		if !strings.HasSuffix(r.URL.Path, digest.String()) {
			return false
		}
		_, _ = w.Write(first[:1000])
		_ = http.NewResponseController(w).Flush()
		<-goOn
		_, _ = w.Write(first[1000:])
		return true
	})
	o := quick()
	o.Stall = 1e10
	f := fetched(t, must(registry.Pull(t.Context(), ref, o)), registry.FetchOptions{})
	r := must(must(f.Layers())[0].Compressed())
	defer r.Close()
	head := make([]byte, 1000)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	equal(t, "beginning", head, first[:1000])
	asked.Wait() // for all three, while the first transfer is blocked
	close(goOn)
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "rest", rest, first[1000:])
}

func TestFetchFails(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 50_000, 3)
	ref := s.has("app", image)
	layer := must(image.Layers())[1]
	blob, digest := blobOf(t, layer), must(layer.Digest())
	blob[100] ^= 1
	s.spoilBlob(digest, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		sendPart(w, r, blob, true, len(blob))
		return true
	})
	f := fetched(t, pulled(t, ref), registry.FetchOptions{})
	_, err := readLayer(must(f.Layers())[1])
	checkError(t, err, manifest.ErrDigest, digest.String())
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := readLayer(must(f.Layers())[1]); err == nil {
		t.Error("read a failed layer: got no error, want one")
	}
}

func TestFetchClosed(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 50_000, 2)
	ref := s.has("app", image)
	layer := must(image.Layers())[0]
	blob := blobOf(t, layer)
	s.spoilBlob(must(layer.Digest()), func(_ int, w http.ResponseWriter, r *http.Request) bool {
		hang(w, r, blob, 10)
		return true
	})
	o := quick()
	o.Stall = 1e12
	f := fetched(t, must(registry.Pull(t.Context(), ref, o)), registry.FetchOptions{})
	r := must(must(f.Layers())[0].Compressed())
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		_, err := r.Read(make([]byte, 1))
		failed <- err
	}()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read while the image is closed: got %v, want an error that is not EOF", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

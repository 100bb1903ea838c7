package registry_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"thinctl/fault"
	"thinctl/internal/images/manifest"
	"thinctl/internal/images/registry"
)

func checkError(t *testing.T, err error, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("got %v, want %v", err, kind)
		return
	}
	var ours *registry.Error
	if !errors.As(err, &ours) || ours.Op == "" || ours.Object == "" {
		t.Errorf("got %v, want an error with operation and object", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("got %q, want %q in it", err, word)
		}
	}
}

func TestPullPushedImage(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 5000, 4)
	ref := s.has("team/app:1", image)
	want := must(image.Digest())
	for _, ref := range []name.Reference{ref, ref.Context().Digest(want.String())} {
		got := pulled(t, ref)
		if err := validate.Image(got); err != nil {
			t.Error(err)
		}
		if got.Named != want || must(got.Digest()) != want || must(got.ConfigName()) != must(image.ConfigName()) {
			t.Errorf("%s: got another image, want the pushed one", ref)
		}
	}
}

// A disturbed transfer is continued, and the blob is complete.
func TestResume(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 100_000, 1)
	ref := s.has("app", image)
	layer := must(image.Layers())[0]
	blob, digest := blobOf(t, layer), must(layer.Digest())
	type answer = func(n int, w http.ResponseWriter, r *http.Request) bool
	times := map[string]struct {
		answer answer
		asked  int
	}{
		"breaks off and sends the range twice": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			sendPart(w, r, blob, true, []int{40_000, 70_000, len(blob)}[n-1])
			return true
		}, 3},
		"ignores the range": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			sendPart(w, r, blob, false, []int{40_000, len(blob)}[n-1])
			return true
		}, 2},
		"refuses the range": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return true
			}
			sendPart(w, r, blob, false, []int{40_000, 0, len(blob)}[n-1])
			return true
		}, 3},
		"continues at another byte": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 50000-%d/%d", len(blob)-1, len(blob)))
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(blob[50_000:])
				return true
			}
			sendPart(w, r, blob, false, []int{40_000, 0, len(blob)}[n-1])
			return true
		}, 3},
		"continues a little before": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				sendPart(w, r, blob, true, 40_000)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 39000-%d/%d", len(blob)-1, len(blob)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(blob[39_000:])
			return true
		}, 2},
		"stalls": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				hang(w, r, blob, 40_000)
				return true
			}
			sendPart(w, r, blob, true, len(blob))
			return true
		}, 2},
		"busy, then not": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n <= 2 {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader([]int{http.StatusTooManyRequests, http.StatusBadGateway}[n-1])
				return true
			}
			return false
		}, 3},
		"of no length": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			_, _ = w.Write(blob[:1000])
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(blob[1000:])
			return true
		}, 1},
	}
	for _, at := range []int{0, 1, 511, 4096, 65_536, len(blob) - 1} {
		times[fmt.Sprintf("breaks off at %d", at)] = struct {
			answer answer
			asked  int
		}{func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				sendPart(w, r, blob, true, at)
			}
			sendPart(w, r, blob, true, len(blob))
			return true
		}, 2}
	}
	for how, c := range times {
		t.Run(how, func(t *testing.T) {
			s.spoilBlob(digest, c.answer)
			got, err := readLayer(must(pulled(t, ref).Layers())[0])
			if err != nil {
				t.Fatal(err)
			}
			equal(t, how, got, blob)
			if n := s.asked("GET /v2/app/blobs/" + digest.String()); n != c.asked {
				t.Errorf("got %d requests, want %d: %q", n, c.asked, s.requests)
			}
		})
	}
}

func TestTransfersThatFail(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 100_000, 1)
	ref := s.has("app", image)
	layer := must(image.Layers())[0]
	blob, digest := blobOf(t, layer), must(layer.Digest())
	wrong := append([]byte(nil), blob...)
	wrong[50_000] ^= 1
	for how, c := range map[string]struct {
		answer func(n int, w http.ResponseWriter, r *http.Request) bool
		kind   error
		words  []string
	}{
		"other bytes": {func(_ int, w http.ResponseWriter, r *http.Request) bool {
			sendPart(w, r, wrong, true, len(wrong))
			return true
		}, manifest.ErrDigest, []string{"its contents are sha256:"}},
		"says it is shorter": {func(_ int, w http.ResponseWriter, r *http.Request) bool {
			sendPart(w, r, blob[:5000], true, 5000)
			return true
		}, manifest.ErrSize, []string{"5000"}},
		"says it is longer": {func(_ int, w http.ResponseWriter, r *http.Request) bool {
			long := append(append([]byte(nil), blob...), "more"...)
			sendPart(w, r, long, true, len(long))
			return true
		}, manifest.ErrSize, nil},
		"is longer": {func(_ int, w http.ResponseWriter, r *http.Request) bool {
			_, _ = w.Write(blob)
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write([]byte("more"))
			return true
		}, manifest.ErrSize, []string{"more than"}},
		"is longer from the middle": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				sendPart(w, r, blob, true, 100)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 100-%d/%d", len(blob)+9, len(blob)+10))
			w.WriteHeader(http.StatusPartialContent)
			return true
		}, manifest.ErrSize, nil},
		"always ends early": {func(_ int, w http.ResponseWriter, r *http.Request) bool {
			sendPart(w, r, blob, true, 7000)
			return true
		}, manifest.ErrTruncated, []string{"given up after 5 tries at byte 7000 of"}},
		"always stalls": {func(_ int, w http.ResponseWriter, r *http.Request) bool {
			hang(w, r, blob, 10)
			return true
		}, registry.ErrStalled, []string{"given up"}},
		"is gone": {func(_ int, w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusNotFound)
			return true
		}, registry.ErrNotFound, nil},
		"is forbidden": {func(_ int, w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusForbidden)
			return true
		}, registry.ErrDenied, []string{"docker login"}},
		"always busy": {func(_ int, w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}, registry.ErrBusy, nil},
	} {
		t.Run(how, func(t *testing.T) {
			s.spoilBlob(digest, c.answer)
			_, err := readLayer(must(pulled(t, ref).Layers())[0])
			checkError(t, err, c.kind, append(c.words, "pull", ref.Name(), digest.String())...)
			if n := s.asked("GET /v2/app/blobs/" + digest.String()); n > 6 {
				t.Errorf("got %d requests, want at most 6", n)
			}
		})
	}
}

// serveManifest makes the registry reply with the given manifest.
func (s *server) serveManifest(raw string, mediaType types.MediaType) {
	s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		w.Header().Set("Content-Type", string(mediaType))
		_, _ = io.WriteString(w, raw)
		return true
	})
}

func TestManifestsThatAreRefused(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 1000, 2)
	ref := s.has("app", image)
	good := string(must(image.RawManifest()))
	layerType := string(must(must(image.Layers())[1].MediaType()))
	change := func(before, after string) string {
		if !strings.Contains(good, before) {
			t.Fatalf("no %q in %s", before, good)
		}
		return strings.ReplaceAll(good, before, after)
	}
	for name, c := range map[string]struct {
		raw       string
		mediaType types.MediaType
		kind      error
		words     []string
	}{
		"no JSON":       {"<html>", types.OCIManifestSchema1, manifest.ErrFormat, nil},
		"unknown layer": {change(layerType, "application/x-tape"), types.DockerManifestSchema2, manifest.ErrMediaType, []string{"x-tape"}},
		"unknown type":  {`{"schemaVersion":2}`, "application/x-thing", manifest.ErrMediaType, []string{"x-thing"}},
		"web page":      {"<!doctype html><html><title>Sign\x1b[31m in</title>", "text/html; charset=utf-8", manifest.ErrFormat, []string{"a web page, status 200", `"Sign [31m in"`}},
		"schema 1":      {`{"schemaVersion":1,"fsLayers":[]}`, types.DockerManifestSchema1Signed, manifest.ErrMediaType, []string{"schema 1"}},
		"huge":          {strings.Repeat(" ", manifest.JSONLimit+5), types.OCIManifestSchema1, manifest.ErrTooLarge, nil},
		"both":          {change(`{"schemaVersion"`, `{"manifests":[],"schemaVersion"`), types.OCIManifestSchema1, manifest.ErrFormat, []string{"both"}},
		"empty index":   {`{"schemaVersion":2,"manifests":[]}`, types.OCIImageIndex, manifest.ErrPlatform, []string{"no images"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.serveManifest(c.raw, c.mediaType)
			_, err := registry.Pull(t.Context(), ref, quick())
			checkError(t, err, c.kind, append(c.words, "pull "+ref.Name())...)
		})
	}
	t.Run("by digest, of another", func(t *testing.T) {
		s.serveManifest(good+" ", types.DockerManifestSchema2)
		_, err := registry.Pull(t.Context(), ref.Context().Digest(must(image.Digest()).String()), quick())
		checkError(t, err, manifest.ErrDigest)
	})
	t.Run("not there", func(t *testing.T) {
		s.spoilWith(nil)
		_, err := registry.Pull(t.Context(), s.ref("none:1"), quick())
		checkError(t, err, registry.ErrNotFound, "check name and tag")
	})
	t.Run("busy once", func(t *testing.T) {
		n := 0
		s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
			n++ // one connection: one at a time
			if n == 2 {
				w.WriteHeader(http.StatusTooManyRequests)
			}
			return n == 2
		})
		pulled(t, ref)
	})
	t.Run("stalls", func(t *testing.T) {
		s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/manifests/") {
				hang(w, r, []byte(good), 10)
				return true
			}
			return false
		})
		o := quick()
		o.Tries = 2
		_, err := registry.Pull(t.Context(), ref, o)
		checkError(t, err, registry.ErrStalled, "no data arrived for 300ms")
	})
}

func TestPlatforms(t *testing.T) {
	s := newServer(t)
	image, other := randomImage(t, 1000, 1), randomImage(t, 1000, 1)
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}}},
		mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
	)
	ref := s.ref("multi:1")
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	got := pulled(t, ref)
	if must(got.Digest()) != must(image.Digest()) || got.Named != must(index.Digest()) {
		t.Errorf("got %s named %s, want %s named %s",
			must(got.Digest()), got.Named, must(image.Digest()), must(index.Digest()))
	}
	o := quick()
	o.Platform = v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	if got := must(registry.Pull(t.Context(), ref, o)); must(got.Digest()) != must(other.Digest()) {
		t.Errorf("arm/v7: got %s, want the image for v6", must(got.Digest()))
	}
	o.Platform = v1.Platform{OS: "linux", Architecture: "riscv64"}
	_, err := registry.Pull(t.Context(), ref, o)
	checkError(t, err, manifest.ErrPlatform, "linux/riscv64 is not among linux/amd64, linux/arm/v6", "--platform")
}

// TestIndexWithoutSizes pulls from an index whose entry has no size.
func TestIndexWithoutSizes(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 1000, 1)
	ref := s.has("app", image)
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"digest":%q,"platform":{"os":"linux","architecture":"amd64"}}]}`, must(image.Digest()))
	s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/manifests/"+ref.TagStr()) {
			return false
		}
		w.Header().Set("Content-Type", string(types.OCIImageIndex))
		_, _ = io.WriteString(w, index)
		return true
	})
	var c collected
	o := c.options()
	o.Platform = v1.Platform{OS: "linux", Architecture: "amd64"}
	if got := must(registry.Pull(t.Context(), ref, o)); must(got.Digest()) != must(image.Digest()) {
		t.Error("got another image, want the pushed one")
	}
	c.check(t, ref.Name(), "names no size; only the digest is checked")
}

// A token is requested with the password of Docker's config, and again after it has
// expired.
func TestTokens(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 1000, 1)
	ref := s.has("private/app", image)
	login(t, "DOCKER_CONFIG", s, "me", "secret")
	issued, valid := 0, ""
	s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.URL.Path == "/token" {
			user, password, _ := r.BasicAuth()
			if user != "me" || password != "secret" {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			if scope := r.URL.Query().Get("scope"); scope != "repository:private/app:pull" {
				t.Errorf("got the scope %q, want repository:private/app:pull", scope)
			}
			issued++
			valid = fmt.Sprint("token", issued)
			_, _ = fmt.Fprintf(w, `{"token":%q}`, valid)
			return true
		}
		if r.Header.Get("Authorization") == "Bearer "+valid && valid != "" {
			if strings.Contains(r.URL.Path, "/manifests/") {
				valid = "expired"
			}
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test"`, s.http.URL))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	if err := validate.Image(pulled(t, ref)); err != nil {
		t.Error(err)
	}
	if issued != 2 {
		t.Errorf("got %d tokens, want 2", issued)
	}
	login(t, "DOCKER_CONFIG", s, "me", "guess")
	_, err := registry.Pull(t.Context(), ref, quick())
	checkError(t, err, registry.ErrDenied, "docker login")
}

func TestPasswords(t *testing.T) {
	s := newServer(t)
	ref := s.has("app", randomImage(t, 1000, 1))
	s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "me" && password == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	for _, variable := range []string{"DOCKER_CONFIG", "REGISTRY_AUTH_FILE"} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv("HOME", t.TempDir())
			_, err := registry.Pull(t.Context(), ref, quick())
			checkError(t, err, registry.ErrDenied)
			login(t, variable, s, "me", "secret")
			pulled(t, ref)
		})
	}
}

// login writes a config file as docker login does.
func login(t *testing.T, variable string, s *server, user, password string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.json")
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	host := strings.TrimPrefix(s.http.URL, "http://")
	if err := os.WriteFile(file, fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, host, auth), 0o600); err != nil {
		t.Fatal(err)
	}
	if variable == "DOCKER_CONFIG" {
		t.Setenv("HOME", t.TempDir())
		file = dir
	}
	t.Setenv(variable, file)
}

func TestTLS(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 1000, 1)
	secure := httptest.NewTLSServer(s)
	defer secure.Close()
	secure.Config.ErrorLog = nil
	plainRef := s.has("app", image)
	ref := must(name.NewTag(strings.TrimPrefix(secure.URL, "https://") + "/" + plainRef.RepositoryStr()))

	o := quick()
	o.Stall = 10 * time.Second // for slow handshakes
	_, err := registry.Pull(t.Context(), ref, o)
	checkError(t, err, registry.ErrInsecure, "--tls-ca")

	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pemOf(secure), 0o600); err != nil {
		t.Fatal(err)
	}
	o.CA = ca
	if _, err := registry.Pull(t.Context(), ref, o); err != nil {
		t.Error(err)
	}
	o.CA = ""
	o.Insecure = true
	if _, err := registry.Pull(t.Context(), ref, o); err != nil {
		t.Error(err)
	}
	o.CA = filepath.Join(t.TempDir(), "none")
	_, err = registry.Pull(t.Context(), ref, o)
	checkError(t, err, os.ErrNotExist)
	if err := os.WriteFile(ca, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.CA = ca
	_, err = registry.Pull(t.Context(), ref, o)
	checkError(t, err, fault.Invalid, "no certificate")
}

func TestContexts(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 50_000, 1)
	ref := s.has("app", image)
	if _, err := registry.Pull(ended(), ref, quick()); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: got %v, want %v", err, context.Canceled)
	}
	layer := must(image.Layers())[0]
	blob, digest := blobOf(t, layer), must(layer.Digest())
	s.spoilBlob(digest, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		sendPart(w, r, blob, true, 10)
		return true
	})
	o := quick()
	o.Wait = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	got := must(registry.Pull(ctx, ref, o))
	begin := time.Now()
	if _, err := readLayer(must(got.Layers())[0]); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the wait between tries: got %v, want %v", err, context.DeadlineExceeded)
	}
	if took := time.Since(begin); took > 2*time.Minute {
		t.Errorf("got a wait of %v, want at most 2 minutes", took)
	}
}

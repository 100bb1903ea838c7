package registry_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"thinctl/fault"
	"thinctl/internal/images/manifest"
	"thinctl/internal/images/registry"
)

// collected are warnings.
type collected struct {
	mu  sync.Mutex
	all []string
}

func (c *collected) options() registry.Options {
	o := quick()
	o.Warn = func(w fault.Warning) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all = append(c.all, w.String())
	}
	return o
}

// check fails unless one of the warnings has the words, or without words when
// there is a warning.
func (c *collected) check(t *testing.T, object, words string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if words == "" {
		if len(c.all) > 0 {
			t.Errorf("warnings %q, want none", c.all)
		}
		return
	}
	for _, one := range c.all {
		if strings.HasPrefix(one, object+": ") && strings.Contains(one, words) {
			return
		}
	}
	t.Errorf("warnings %q, want one of %s with %q", c.all, object, words)
}

// altered passes answers of the backend on, with another header or status.
func (s *server) altered(w http.ResponseWriter, r *http.Request, change func(*httptest.ResponseRecorder)) {
	answer := httptest.NewRecorder()
	s.backend.ServeHTTP(answer, r)
	change(answer)
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

func pullsWhole(t *testing.T, s *server, name string, image v1.Image, o registry.Options) {
	t.Helper()
	got, err := registry.Pull(t.Context(), s.ref(name), o)
	if err != nil {
		t.Fatal(err)
	}
	if must(got.Digest()) != must(image.Digest()) {
		t.Error("got another image, want the pushed one")
	}
	for i, layer := range must(got.Layers()) {
		blob, err := readLayer(layer)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, fmt.Sprint("layer ", i), blob, blobOf(t, must(image.Layers())[i]))
	}
}

// Docker or containerd pull from registries like these.
func TestRegistriesThatAnswerOddly(t *testing.T) {
	image := randomImage(t, 2000, 2)
	for name, c := range map[string]struct {
		spoil   func(s *server, w http.ResponseWriter, r *http.Request) bool
		warning string
	}{
		"files without /v2/": {func(_ *server, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" {
				http.NotFound(w, r)
			}
			return r.URL.Path == "/v2/"
		}, "answers /v2/ with status 404"},
		"no header at all": {func(s *server, w http.ResponseWriter, r *http.Request) bool {
			s.altered(w, r, func(answer *httptest.ResponseRecorder) {
				for name := range answer.Header() {
					answer.Header().Del(name)
				}
				answer.Header().Set("Content-Type", "")
			})
			return true
		}, ""},
		"another digest in the header": {func(s *server, w http.ResponseWriter, r *http.Request) bool {
			s.altered(w, r, func(answer *httptest.ResponseRecorder) {
				answer.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
			})
			return true
		}, "gives it the digest sha256:0000"},
		"another type in the header": {func(s *server, w http.ResponseWriter, r *http.Request) bool {
			s.altered(w, r, func(answer *httptest.ResponseRecorder) {
				answer.Header().Set("Content-Type", "text/plain; charset=utf-8")
			})
			return true
		}, `media type "text/plain": it was read as an image manifest`},
		"busy for a second": {func(s *server, w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/manifests/") || s.asked("GET /v2/app/manifests/") > 1 {
				return false
			}
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}, ""},
		"a token for images only": {func(s *server, w http.ResponseWriter, r *http.Request) bool {
			switch {
			case r.URL.Path == "/token":
				_, _ = io.WriteString(w, `{"access_token":"abc"}`)
				return true
			case r.URL.Path == "/v2/", r.Header.Get("Authorization") == "Bearer abc":
				return false
			}
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="s",scope="x"`, s.http.URL))
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			ref := s.has("app", image)
			s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool { return c.spoil(s, w, r) })
			warned := &collected{}
			pullsWhole(t, s, "app", image, warned.options())
			warned.check(t, ref.Name(), c.warning)
		})
	}
}

// The error contains the reply of the host.
func TestAnswersThatEndAPull(t *testing.T) {
	const page = "<!DOCTYPE html>\n<html><head><title>Sign in</title><script>alert(1)</script></head>\x1b[2J<body>to <b>your</b>\r\nnetwork</body></html>"
	image := randomImage(t, 1000, 1)
	always := func(status int, header, value string) func(*server, http.ResponseWriter, *http.Request) {
		return func(_ *server, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set(header, value)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, page)
		}
	}
	for name, c := range map[string]struct {
		answer func(*server, http.ResponseWriter, *http.Request)
		kind   error
		words  []string
	}{
		"a page":             {always(200, "X", "y"), manifest.ErrFormat, []string{"a web page, status 200", `"Sign in [2J to your network"`}},
		"a page not found":   {always(404, "X", "y"), registry.ErrNotFound, []string{"a web page", "404 Not Found", "Sign in [2J to your network"}},
		"a page forbidden":   {always(403, "X", "y"), registry.ErrDenied, []string{"a web page", "403 Forbidden"}},
		"a page bad gateway": {always(502, "X", "y"), registry.ErrUnavailable, []string{"a web page", "502 Bad Gateway"}},
		"a long page missing": {func(_ *server, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(404)
			_, _ = io.WriteString(w, page+strings.Repeat("x ", 100_000))
		}, registry.ErrNotFound, []string{"a web page", "404 Not Found"}},
		"busy for an hour": {always(429, "Retry-After", "3600"), registry.ErrBusy, []string{"try again in 1h0m0s", "docker login"}},
		"down for an hour": {always(503, "Retry-After", "3600"), registry.ErrUnavailable, []string{"try again in 1h0m0s"}},
		"redirects without an end": {func(_ *server, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		}, registry.ErrUnavailable, []string{"redirected more than 10 times"}},
		"redirects to a cloud's metadata": {func(_ *server, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
		}, registry.ErrInsecure, []string{"169.254.169.254", "no option allows the reference"}},
		"a token server at a cloud's metadata": {func(_ *server, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://169.254.169.254/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, registry.ErrInsecure, []string{"169.254.169.254", "no option allows the reference"}},
		"a token server of pages": {func(s *server, w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				_, _ = io.WriteString(w, page)
				return
			}
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token"`, s.http.URL))
			w.WriteHeader(http.StatusUnauthorized)
		}, registry.ErrUnavailable, []string{"token server", "proxy"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			ref := s.has("app", image)
			s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/v2/" && !strings.HasPrefix(name, "a token") {
					return false
				}
				c.answer(s, w, r)
				return true
			})
			_, err := registry.Pull(t.Context(), ref, quick())
			checkError(t, err, c.kind, append(c.words, "pull", ref.Name())...)
			if err != nil && strings.ContainsAny(err.Error(), "\x1b\r\n") {
				t.Errorf("got %q, want no control characters", err)
			}
			if n := s.asked("GET /v2/app/manifests/"); n > 12 {
				t.Errorf("got %d requests, want at most 12", n)
			}
		})
	}
}

// Blobs and uploads may be at another address, which is checked.
func TestRedirects(t *testing.T) {
	image := randomImage(t, 3000, 2)
	s, store := newServer(t), newServer(t)
	store.backend = s.backend
	host := strings.TrimPrefix(store.http.URL, "http://")
	for name, to := range map[string]string{"absolute": store.http.URL, "without a scheme": "//" + host, "relative": ""} {
		t.Run(name, func(t *testing.T) {
			s.spoilWith(nil)
			s.has("app", image)
			store.spoilWith(func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Authorization") != "" {
					t.Error("got credentials in a redirected request, want none")
				}
				return false
			})
			s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") || r.URL.RawQuery != "" {
					return false
				}
				w.Header().Set("Location", to+r.URL.Path+"?signed")
				w.WriteHeader(http.StatusTemporaryRedirect)
				return true
			})
			pullsWhole(t, s, "app", image, quick())
			if n := store.asked("GET /v2/app/blobs/"); to != "" && n != 3 {
				t.Errorf("got %d blobs from the other address, want 3", n)
			}
		})
	}
}

// Registries differ in the way in which they continue uploads.
func TestUploads(t *testing.T) {
	image := randomImage(t, 3000, 2)
	for name, change := range map[string]func(s *server, r *http.Request, answer *httptest.ResponseRecorder){
		"locations absolute": func(s *server, _ *http.Request, answer *httptest.ResponseRecorder) {
			if to := answer.Header().Get("Location"); strings.HasPrefix(to, "/") {
				answer.Header().Set("Location", s.http.URL+to)
			}
		},
		"locations relative to the upload": func(_ *server, r *http.Request, answer *httptest.ResponseRecorder) {
			if to := answer.Header().Get("Location"); r.Method == http.MethodPost || r.Method == http.MethodPatch {
				answer.Header().Set("Location", to[strings.LastIndex(to, "/")+1:])
			}
		},
		"no location, an id": func(_ *server, _ *http.Request, answer *httptest.ResponseRecorder) {
			if to := answer.Header().Get("Location"); answer.Code == http.StatusAccepted {
				answer.Header().Set("Docker-Upload-UUID", to[strings.LastIndex(to, "/")+1:])
			}
			answer.Header().Del("Location")
		},
		"done with 200": func(_ *server, r *http.Request, answer *httptest.ResponseRecorder) {
			if r.Method == http.MethodPut {
				answer.Code = http.StatusOK
			}
		},
		"done with 204": func(_ *server, r *http.Request, answer *httptest.ResponseRecorder) {
			if r.Method == http.MethodPut {
				answer.Code = http.StatusNoContent
				answer.Body = &bytes.Buffer{}
			}
		},
		"no digest in headers": func(_ *server, _ *http.Request, answer *httptest.ResponseRecorder) {
			answer.Header().Del("Docker-Content-Digest")
		},
	} {
		for _, streaming := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", streamed ", streaming), func(t *testing.T) {
				s := newServer(t)
				s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
					s.altered(w, r, func(answer *httptest.ResponseRecorder) { change(s, r, answer) })
					return true
				})
				send := image
				if streaming {
					send, _ = streamedImage(t, image)
				}
				for range 2 { // the second time all is there
					if _, err := registry.Push(t.Context(), s.ref("app:1"), send, quick()); err != nil {
						t.Fatal(err)
					}
				}
				if got := pulled(t, s.ref("app:1")); must(got.ConfigName()) != must(image.ConfigName()) {
					t.Error("got another image, want the pushed one")
				}
			})
		}
	}
	t.Run("to another address", func(t *testing.T) {
		s, store := newServer(t), newServer(t)
		store.backend = s.backend
		s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
			s.altered(w, r, func(answer *httptest.ResponseRecorder) {
				if to := answer.Header().Get("Location"); answer.Code == http.StatusAccepted {
					answer.Header().Set("Location", store.http.URL+to)
				}
			})
			return true
		})
		if _, err := registry.Push(t.Context(), s.ref("app:1"), image, quick()); err != nil {
			t.Fatal(err)
		}
		if store.asked("PATCH") == 0 {
			t.Errorf("got no upload at the other address, want some: %q", s.requests)
		}
	})
	t.Run("to a cloud's metadata", func(t *testing.T) {
		s := newServer(t)
		s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				w.Header().Set("Location", "http://169.254.169.254/upload")
				w.WriteHeader(http.StatusAccepted)
			}
			return r.Method == http.MethodPost
		})
		_, err := registry.Push(t.Context(), s.ref("app:1"), image, quick())
		checkError(t, err, registry.ErrInsecure, "169.254.169.254", "push")
	})
}

// A foreign layer is read from the registry, or else from the addresses in the
// manifest.
func TestForeignLayers(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 3000, 1)
	layer := must(image.Layers())[0]
	blob, digest := blobOf(t, layer), must(layer.Digest())
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			_, _ = w.Write(blob)
		case "/wrong":
			_, _ = w.Write(bytes.Repeat([]byte("x"), len(blob)))
		default:
			http.NotFound(w, r)
		}
	}))
	defer elsewhere.Close()
	ref := s.has("app", image)
	kind := fmt.Sprintf("%q", must(layer.MediaType()))
	for name, c := range map[string]struct {
		there   bool // in the registry
		urls    []string
		kind    error
		warning string
	}{
		"in the registry":  {true, nil, nil, "layer 1 is a foreign layer"},
		"elsewhere":        {false, []string{elsewhere.URL + "/none", elsewhere.URL + "/good"}, nil, "read from " + elsewhere.URL + "/good"},
		"nowhere":          {false, []string{elsewhere.URL + "/none"}, manifest.ErrForeign, "foreign layer"},
		"other contents":   {false, []string{elsewhere.URL + "/wrong"}, manifest.ErrDigest, "foreign layer"},
		"cloud's metadata": {false, []string{"http://169.254.169.254/latest"}, registry.ErrInsecure, "foreign layer"},
		"a file":           {false, []string{"file:///etc/passwd"}, manifest.ErrForeign, "foreign layer"},
	} {
		t.Run(name, func(t *testing.T) {
			raw := strings.Replace(string(must(image.RawManifest())), kind, fmt.Sprintf(`%q,"urls":%s`, types.DockerForeignLayer, jsonOf(c.urls)), 1)
			s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case strings.Contains(r.URL.Path, "/manifests/"):
					_, _ = io.WriteString(w, raw)
					return true
				case strings.HasSuffix(r.URL.Path, digest.String()) && !c.there:
					http.NotFound(w, r)
					return true
				}
				return false
			})
			warned := &collected{}
			got, err := registry.Pull(t.Context(), ref, warned.options())
			if err != nil {
				t.Fatal(err)
			}
			read, err := readLayer(must(got.Layers())[0])
			if c.kind != nil {
				checkError(t, err, c.kind, digest.String())
			} else if err != nil {
				t.Error(err)
			} else {
				equal(t, name, read, blob)
			}
			warned.check(t, ref.Name(), c.warning)
		})
	}
}

func jsonOf(urls []string) string {
	if len(urls) == 0 {
		return "null"
	}
	return `["` + strings.Join(urls, `","`) + `"]`
}

// Faulty credentials do not prevent the pull of an image that needs none.
func TestCredentials(t *testing.T) {
	s := newServer(t)
	host := strings.TrimPrefix(s.http.URL, "http://")
	image := randomImage(t, 1000, 1)
	ref := s.has("team/app", image)
	const me = `"auth":"bWU6c2VjcmV0"` // me:secret
	for name, c := range map[string]struct {
		config  string
		helpers map[string]string // their scripts
		sent    string            // the user, "" for none
		warning string
	}{
		"none":                 {`{}`, nil, "", ""},
		"a host":               {`{"auths":{"` + host + `":{` + me + `}}}`, nil, "me", ""},
		"with a scheme":        {`{"auths":{"https://` + host + `/v1/":{` + me + `}}}`, nil, "me", ""},
		"with a plain scheme":  {`{"auths":{"http://` + host + `":{` + me + `}}}`, nil, "me", ""},
		"of a part":            {`{"auths":{"` + host + `/team":{` + me + `}}}`, nil, "me", ""},
		"of the repository":    {`{"auths":{"` + host + `/team/app":{` + me + `}}}`, nil, "me", ""},
		"of another registry":  {`{"auths":{"registry.example":{` + me + `}}}`, nil, "", ""},
		"no helper installed":  {`{"credsStore":"none"}`, nil, "", "docker-credential-none has no credentials for " + host},
		"a helper that fails":  {`{"credsStore":"bad"}`, map[string]string{"bad": "echo '\x1b[2J broken'; exit 1"}, "", "broken"},
		"a helper without":     {`{"credsStore":"empty"}`, map[string]string{"empty": "echo 'credentials not found in native keychain'; exit 1"}, "", ""},
		"a helper that hangs":  {`{"credsStore":"slow"}`, map[string]string{"slow": `while [ -e "$0" ]; do sleep 1; done`}, "", "it did not exit in time"},
		"a helper that helps":  {`{"credHelpers":{"` + host + `":"good"}}`, map[string]string{"good": `echo '{"Username":"me","Secret":"secret"}'`}, "me", ""},
		"a helper, else auths": {`{"credsStore":"none","auths":{"` + host + `":{` + me + `}}}`, nil, "me", "docker-credential-none"},
		"not JSON":             {`{"auths"`, nil, "", "not all credentials are read"},
		"one of two is broken": {`{"auths":{"registry.example":{"auth":"?"},"` + host + `":{` + me + `}}}`, nil, "me", "not all credentials are read"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("DOCKER_CONFIG", dir)
			t.Setenv("HOME", t.TempDir())
			t.Setenv("XDG_RUNTIME_DIR", "")
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			write := func(file, text string, mode os.FileMode) {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), mode); err != nil {
					t.Fatal(err)
				}
			}
			write("config.json", c.config, 0o600)
			for helper, script := range c.helpers {
				write("docker-credential-"+helper, "#!/bin/sh\n"+script+"\n", 0o700)
			}
			users := map[string]bool{}
			s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
				user, _, _ := r.BasicAuth()
				s.mu.Lock()
				defer s.mu.Unlock()
				users[user] = true
				if c.sent != "" && user == "" {
					w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
					w.WriteHeader(http.StatusUnauthorized)
					return true
				}
				return false
			})
			warned := &collected{}
			o := warned.options()
			if name != "a helper that hangs" {
				o.Stall = time.Minute // a helper is a process: it takes its time on a busy machine
			}
			pullsWhole(t, s, "team/app", image, o)
			if !users[c.sent] || c.sent == "" && len(users) > 1 {
				t.Errorf("got the users %v, want %q", users, c.sent)
			}
			warned.check(t, ref.Name(), c.warning)
			for _, one := range warned.all {
				if strings.Contains(one, "\x1b") {
					t.Errorf("got the warning %q, want no control characters", one)
				}
			}
		})
	}
	t.Run("no such file", func(t *testing.T) {
		t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(t.TempDir(), "none.json"))
		s.spoilWith(nil)
		warned := &collected{}
		pullsWhole(t, s, "team/app", image, warned.options())
		warned.check(t, ref.Name(), "no credentials are read")
	})
}

// An identity token is exchanged for one of the registry's.
func TestIdentityTokens(t *testing.T) {
	s := newServer(t)
	image := randomImage(t, 1000, 1)
	s.has("app", image)
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	host := strings.TrimPrefix(s.http.URL, "http://")
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"auths":{"`+host+`":{"identitytoken":"refresh"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/token":
			if r.Method != http.MethodPost || r.FormValue("refresh_token") != "refresh" {
				t.Errorf("got a request for a token with %s %v, want POST and the refresh token", r.Method, r.Form)
			}
			_, _ = io.WriteString(w, `{"access_token":"abc"}`)
			return true
		case r.Header.Get("Authorization") == "Bearer abc":
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="s"`, s.http.URL))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	pullsWhole(t, s, "app", image, quick())
}

// A config with unknown fields is pulled and pushed byte for byte.
func TestConfigsAreKept(t *testing.T) {
	s := newServer(t)
	layers := must(randomImage(t, 2000, 1).Layers())
	raw := fmt.Appendf(nil, `{ "architecture":"amd64", "os":"linux","x":[1.0,"\u003c"],"config":{"StopTimeout":42},
		"history":[{"created_by":"y"}],"rootfs":{"type":"layers","diff_ids":[%q]}}`, must(layers[0].DiffID()))
	image, err := manifest.Assemble(raw, layers)
	if err != nil {
		t.Fatal(err)
	}
	s.has("app", image)
	got := pulled(t, s.ref("app"))
	equal(t, "the config", must(got.RawConfigFile()), raw)
	if _, err := registry.Push(t.Context(), s.ref("other"), got, quick()); err != nil {
		t.Fatal(err)
	}
	equal(t, "the config pushed again", must(pulled(t, s.ref("other")).RawConfigFile()), raw)
	if created := must(got.ConfigFile()).Created; !created.IsZero() {
		t.Errorf("created %v, want no date", created)
	}
}

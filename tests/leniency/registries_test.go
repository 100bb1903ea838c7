package leniency

import (
	"net/http"
	"strings"
	"sync/atomic"

	"thinctl/internal/testkit/imagetest"
)

// Private addresses of the guest. Blobs of some rows are at the second.
const (
	privateRegistry = "10.77.0.1"
	privateBlobs    = "10.77.0.2"
)

// registryQuirks are those of registries.
func registryQuirks() []quirk {
	s := func(name string, serve wrapper) quirk {
		return quirk{name: "pull-" + name, form: registry, serve: serve}
	}
	d := func(name string, draft func(*draft)) quirk {
		return quirk{name: "pull-" + name, form: registry, draft: draft}
	}
	above := func(name string, indexes ...func(imagetest.Descriptor) object) quirk {
		return d(name, func(d *draft) { d.Above = indexes })
	}
	login := func(name, text string) quirk { return quirk{name: "pull-login-" + name, form: registry, login: text} }
	away := func(name, port string, code int) quirk {
		blobs := privateBlobs + ":" + port
		q := s(name, redirected("blobs", code, func(_ *http.Request, path string) string { return "http://" + blobs + path }))
		q.away = blobs
		return q
	}
	return []quirk{
		s("plain", nil),
		above("index", over()),
		above("index-nested", over(), over()),
		above("index-without-platform", without("platform")),
		above("index-without-media-type", without("mediaType")),
		above("index-attestation", attested(true)),
		above("index-attestation-unmarked", attested(false)),
		above("index-other-platforms", over("arm64", "s390x")),
		above("index-variant", variant("v2")),
		d("docker-list", func(d *draft) {
			d.ManifestType, d.ConfigType, d.last().MediaType = imagetest.DockerManifest, imagetest.DockerConfig, imagetest.DockerLayer+".gzip"
			d.Above = []func(imagetest.Descriptor) object{func(m imagetest.Descriptor) object {
				return object{"schemaVersion": 2, "mediaType": imagetest.DockerList, "manifests": []any{onPlatform(m, "amd64")}}
			}}
		}),
		d("config-type-octet-stream", func(d *draft) { d.ConfigType = "application/octet-stream" }),
		d("config-type-json", func(d *draft) { d.ConfigType = "application/json" }),
		d("config-type-plain-text", func(d *draft) { d.ConfigType = "text/html" }),
		d("config-type-none", func(d *draft) { d.ConfigType = "" }),
		d("docker-config-type-octet-stream", func(d *draft) {
			d.ManifestType, d.last().MediaType, d.ConfigType = imagetest.DockerManifest, imagetest.DockerLayer+
				".gzip", "application/octet-stream"
		}),
		d("docker-zstd", func(d *draft) {
			d.stored(zstd)
			d.ManifestType, d.ConfigType, d.last().MediaType = imagetest.DockerManifest, imagetest.DockerConfig, imagetest.DockerLayer+".zstd"
		}),
		d("docker-layer-plain", func(d *draft) {
			d.last().Blob = nil
			d.ManifestType, d.ConfigType, d.last().MediaType = imagetest.DockerManifest, imagetest.DockerConfig, imagetest.DockerLayer
		}),
		d("layer-type-none", func(d *draft) { d.last().MediaType = "" }),
		d("layer-type-octet-stream", func(d *draft) { d.last().MediaType = "application/octet-stream" }),
		d("layer-type-foreign", func(d *draft) { d.last().MediaType = imagetest.DockerLayer + ".foreign.gzip" }),
		d("layer-says-gzip-is-plain", func(d *draft) { d.last().Blob = nil }),
		d("layer-says-gzip-is-zstd", func(d *draft) { d.stored(zstd) }),
		d("layer-says-plain-is-gzip", func(d *draft) { d.last().MediaType = imagetest.OCILayer }),
		d("layer-twice", func(d *draft) {
			d.Layers, d.shown = append(d.Layers, d.Layers[0]), append(d.shown, d.shown[0])
		}),
		d("manifest-without-media-type", func(d *draft) { d.Manifest = object{"mediaType": nil} }),
		d("no-layers", func(d *draft) {
			d.Layers, d.shown = nil, nil
			d.Config["author"] = d.name
		}),
		{name: "pull-by-digest", form: registry,
			ref: func(d *draft, at string) string { return at + "@" + d.Parts().Top.Digest }},
		{name: "pull-by-tag-and-digest", form: registry,
			ref: func(d *draft, at string) string { return at + ":1@" + d.Parts().Top.Digest }},

		s("redirect-relative", redirected("blobs", http.StatusTemporaryRedirect,
			func(_ *http.Request, path string) string { return path })),
		s("redirect-absolute", redirected("blobs", http.StatusTemporaryRedirect,
			func(r *http.Request, path string) string { return "http://" + r.Host + path })),
		s("redirect-without-scheme",
			redirected("blobs", http.StatusTemporaryRedirect,
				func(r *http.Request, path string) string { return "//" + r.Host + path })),
		s("redirect-301", redirected("blobs", http.StatusMovedPermanently,
			func(_ *http.Request, path string) string { return path })),
		s("redirect-302", redirected("blobs", http.StatusFound, func(_ *http.Request, path string) string { return path })),
		s("redirect-303", redirected("blobs", http.StatusSeeOther,
			func(_ *http.Request, path string) string { return path })),
		s("redirect-308", redirected("blobs", http.StatusPermanentRedirect,
			func(_ *http.Request, path string) string { return path })),
		s("redirect-manifests", redirected("manifests", http.StatusTemporaryRedirect,
			func(_ *http.Request, path string) string { return path })),
		s("redirect-other-local-host",
			redirected("blobs", http.StatusTemporaryRedirect, func(r *http.Request, path string) string {
				return "http://localhost" + r.Host[strings.LastIndex(r.Host, ":"):] + path
			})),
		away("redirect-private", "9000", http.StatusTemporaryRedirect),
		away("redirect-private-302", "9001", http.StatusFound),

		s("without-content-type", silent("Content-Type")),
		s("content-type-with-charset",
			changed(func(h http.Header) { h.Set("Content-Type", h.Get("Content-Type")+"; charset=utf-8") })),
		s("content-type-text", changed(func(h http.Header) { h.Set("Content-Type", "text/plain; charset=utf-8") })),
		s("content-type-json", changed(func(h http.Header) { h.Set("Content-Type", "application/json") })),
		s("without-digest-header", silent("Docker-Content-Digest")),
		s("without-version-header", silent("Docker-Distribution-Api-Version")),
		s("without-length", changed(func(h http.Header) { h.Del("Content-Length") })),
		s("without-ranges", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Del("Range")
				silent("Accept-Ranges")(next).ServeHTTP(w, r)
			})
		}),
		s("head-not-allowed", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodHead {
					w.WriteHeader(http.StatusMethodNotAllowed)
					return
				}
				next.ServeHTTP(w, r)
			})
		}),
		s("ping-html", on("ping", func(w http.ResponseWriter, _ *http.Request) bool { html(w, http.StatusOK); return true })),
		s("ping-404", on("ping", func(w http.ResponseWriter, _ *http.Request) bool { html(w, http.StatusNotFound); return true })),
		s("busy-once", once("manifests", http.StatusTooManyRequests)),
		s("unavailable-once", once("blobs", http.StatusServiceUnavailable)),
		s("token", guarded(func(token string) any { return object{"token": token} })),
		s("token-access-token", guarded(func(token string) any { return object{"access_token": token} })),
		s("token-both", guarded(func(token string) any {
			return object{"token": token, "access_token": token,
				"expires_in": 300}
		})),
		s("token-expires-soon", guarded(func(token string) any {
			return object{"token": token, "expires_in": 0, "issued_at": "2015-06-07T08:09:10Z"}
		})),

		login("helper-missing", `{"credsStore":"not-installed"}`),
		login("helper-fails", `{"credsStore":"fails"}`),
		login("helper-garbage", `{"credsStore":"garbage"}`),
		login("helper-for-host-missing", `{"credHelpers":{"127.0.0.1":"not-installed"}}`),
		login("helper-of-other-host", `{"credHelpers":{"other.test":"not-installed"}}`),
		login("empty-file", ``),
		login("not-json", `{"auths":`),
		login("unknown-fields", `{"x-own":1,"auths":{}}`),
		login("auth-not-base64", `{"auths":{"other.test":{"auth":"***"}}}`),
		login("auth-without-colon", `{"auths":{"other.test":{"auth":"bm9jb2xvbg=="}}}`),
	}
}

// once answers the first request of a kind with a code.
func once(kind string, code int) wrapper {
	return func(next http.Handler) http.Handler {
		var answered atomic.Bool
		return on(kind, func(w http.ResponseWriter, r *http.Request) bool {
			if answered.Swap(true) {
				return false
			}
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(code)
			return true
		})(next)
	}
}

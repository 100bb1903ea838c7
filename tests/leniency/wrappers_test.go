package leniency

import (
	"encoding/json"
	"net/http"
	"strings"
)

// asked is the kind of object in the repository that a request is for.
func asked(r *http.Request) (kind, id string) {
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) < 3 {
		return "", ""
	}
	return parts[len(parts)-2], parts[len(parts)-1]
}

// Wrappers of a registry's handler.

type wrapper = func(http.Handler) http.Handler

// on answers requests of one kind. answer returns false to leave the request to the
// registry.
func on(kind string, answer func(w http.ResponseWriter, r *http.Request) bool) wrapper {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if is, _ := asked(r); (is == kind || kind == "ping" && r.URL.Path == "/v2/") && answer(w, r) {
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// silent removes headers of answers.
func silent(names ...string) wrapper {
	return changed(func(h http.Header) {
		for _, name := range names {
			h.Del(name)
		}
		if len(names) > 0 && names[0] == "Content-Type" {
			h["Content-Type"] = nil // or net/http would guess one
		}
	})
}

// changed changes the headers of answers.
func changed(change func(http.Header)) wrapper {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&header{ResponseWriter: w, change: change}, r)
		})
	}
}

type header struct {
	http.ResponseWriter
	change func(http.Header)
	done   bool
}

func (h *header) WriteHeader(code int) {
	if !h.done {
		h.done = true
		h.change(h.Header())
	}
	h.ResponseWriter.WriteHeader(code)
}

func (h *header) Write(p []byte) (int, error) {
	if !h.done {
		h.WriteHeader(http.StatusOK)
	}
	return h.ResponseWriter.Write(p)
}

// redirected redirects requests of one kind to a path with a prefix, and removes the prefix
// from redirected requests.
func redirected(kind string, code int, location func(r *http.Request, path string) string) wrapper {
	const prefix = "/elsewhere"
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if path, ok := strings.CutPrefix(r.URL.Path, prefix); ok {
				r.URL.Path = path
				next.ServeHTTP(w, r)
				return
			}
			if is, _ := asked(r); is == kind {
				w.Header().Set("Location", location(r, prefix+r.URL.Path))
				w.WriteHeader(code)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// html is the answer of a proxy or a login page.
func html(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	w.Write([]byte("<!DOCTYPE html><html><body>Please log in</body></html>"))
}

// guarded requires a token; answer is what the token server returns.
func guarded(answer func(token string) any) wrapper {
	return func(next http.Handler) http.Handler {
		const token = "c2VjcmV0"
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/token":
				w.Header().Set("Content-Type", "application/json")
				json.NewEncoder(w).Encode(answer(token))
			case r.Header.Get("Authorization") != "Bearer "+token:
				w.Header().Set("Www-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="quirk"`)
				w.WriteHeader(http.StatusUnauthorized)
			default:
				next.ServeHTTP(w, r)
			}
		})
	}
}

//go:build systemd

package leniency

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"thinctl/internal/testkit/imagetest"
)

// store is a registry of one image, tag 1. It answers as the distribution specification
// requires; rows wrap it.
type store struct {
	parts imagetest.Parts
}

func (s store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.URL.Path == "/v2/" {
		return
	}
	kind, id := asked(r)
	switch kind {
	case "manifests":
		if id == "1" {
			id = s.parts.Top.Digest
		}
		if d, ok := s.parts.Documents[id]; ok {
			w.Header().Set("Content-Type", d.Name)
			w.Header().Set("Docker-Content-Digest", id)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(d.Data))
			return
		}
	case "blobs":
		if blob, ok := s.parts.Blobs[id]; ok {
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Docker-Content-Digest", id)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	w.Write([]byte(`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not here"}]}`))
}

// server is an HTTP server on an address of the guest.
type server struct {
	http.Server
	address string
	done    chan error
}

func startServer(address string, handler http.Handler) (*server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &server{Server: http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}, address: listener.Addr().String(),
		done: make(chan error, 1)}
	go func() { s.done <- s.Serve(listener) }()
	return s, nil
}

func (s *server) stop(ctx context.Context) error {
	err := s.Shutdown(ctx)
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

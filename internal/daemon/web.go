package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/exporter-toolkit/web"

	"thinctl/fault"
	"thinctl/internal/config"
	"thinctl/internal/remedy"
)

// webServer serves metrics and health checks.
type webServer struct {
	servers   []*http.Server // one for each listener, since web.Serve changes it
	listeners []net.Listener
	handler   http.Handler
	config    string
}

// listen opens the listeners. Run calls it before it changes any pool.
func (d *Daemon) listen() (*webServer, error) {
	serve := d.options.Config.Serve
	s := &webServer{config: serve.WebConfig, listeners: slices.Clone(d.options.Listeners), handler: d.handler(serve.PProf)}
	if err := CheckWeb(serve); err != nil {
		return nil, err
	}
	if len(s.listeners) > 0 || serve.Listen == "" {
		return s, nil
	}
	listener, err := listenAt(serve.Listen)
	if err != nil {
		return nil, err
	}
	s.listeners = append(s.listeners, listener)
	return s, nil
}

// CheckWeb checks the web configuration with its certificates and keys.
func CheckWeb(serve config.Serve) error {
	if err := web.Validate(serve.WebConfig); err != nil {
		return &fault.Error{Op: "serve with", Object: serve.WebConfig, Err: err,
			Remedy: "see https://github.com/prometheus/exporter-toolkit (web configuration), " +
				"and check that thinctl may read the files that it names"}
	}
	return nil
}

func listenAt(address string) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, "unix:")
	network := "tcp"
	if unix {
		network, address = "unix", path
		if err := removeStaleSocket(path); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen(network, address)
	if err == nil && unix {
		err = os.Chmod(path, 0o660)
	}
	if err != nil {
		remedy := "set serve.listen to an address of this host"
		if unix {
			remedy = "create the directory, or set serve.listen to another path"
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			remedy = "stop the process that listens there (`ss -lptn` shows it), or set serve.listen to another port"
		}
		return nil, &fault.Error{Op: "listen at", Object: address, Err: err, Remedy: remedy}
	}
	return listener, nil
}

// removeStaleSocket removes the socket of a daemon that was killed. It leaves a socket at
// which a process listens, and other files, and returns an error for them.
func removeStaleSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.Mode()&fs.ModeSocket == 0 {
		err = errors.New("the path exists and is not a socket")
	}
	if err == nil {
		var peer net.Conn
		if peer, err = net.DialTimeout("unix", path, time.Second); err == nil {
			peer.Close()
			err = syscall.EADDRINUSE
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			err = os.Remove(path)
		}
	}
	if err != nil {
		return &fault.Error{Op: "listen at", Object: path, Err: err, Remedy: "set serve.listen to another path"}
	}
	return nil
}

// serve serves at all listeners. It returns a channel that receives their errors.
func (s *webServer) serve(log *slog.Logger) <-chan error {
	failed := make(chan error, len(s.listeners))
	// web.Serve logs at each start whether TLS is on.
	quiet := slog.New(&minLevel{Handler: log.Handler(), level: slog.LevelWarn})
	for _, listener := range s.listeners {
		server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
		s.servers = append(s.servers, server)
		go func() {
			err := web.Serve(listener, server, &web.FlagConfig{WebConfigFile: &s.config}, quiet)
			if err != nil && !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serving at %s: %w", listener.Addr(), err)
			}
		}()
	}
	return failed
}

func (s *webServer) addresses() string {
	var all []string
	for _, listener := range s.listeners {
		all = append(all, listener.Addr().String())
	}
	return strings.Join(all, ", ")
}

func (s *webServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, server := range s.servers {
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // cuts the connections that are left
		}
	}
	for _, listener := range s.listeners {
		listener.Close() // fails if a server has closed it
	}
}

// handler returns the handler of all URLs.
func (d *Daemon) handler(profiles bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", d.metrics.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, d.health()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { reply(w, d.readiness()) })
	if profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func reply(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ok")
}

// health returns an error if the daemon itself hangs. The state of its pools is in the
// metrics.
func (d *Daemon) health() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if quiet := time.Since(d.heartbeat); d.ready && quiet > 6*listInterval {
		return fmt.Errorf("the main loop has been blocked for %s", quiet.Round(time.Second))
	}
	return nil
}

// readiness returns an error until the daemon has tried to activate all pools.
func (d *Daemon) readiness() error {
	d.mu.Lock()
	ready := d.ready
	d.mu.Unlock()
	if !ready {
		return errors.New("the daemon is activating the pools")
	}
	return nil
}

// minLevel is a handler that drops the records below a level.
type minLevel struct {
	slog.Handler
	level slog.Level
}

func (h *minLevel) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level && h.Handler.Enabled(ctx, level)
}

// NewLogger returns a logger with the level and format of a configuration.
func NewLogger(serve config.Serve, to interface{ Write([]byte) (int, error) }) *slog.Logger {
	options := &slog.HandlerOptions{Level: serve.LogLevel, ReplaceAttr: remedy.LogAttr}
	if serve.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(to, options))
	}
	return slog.New(slog.NewTextHandler(to, options))
}

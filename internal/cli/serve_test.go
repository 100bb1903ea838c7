package cli

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
)

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// service is `thinctl serve` on a host in memory, under a service manager.
type service struct {
	*testing.T
	app    *command.Environment
	errs   syncBuffer
	socket string
	notes  *net.UnixConn
	config string
	end    context.CancelCauseFunc
	code   chan int
	client *http.Client
}

func serveTest(t *testing.T, config string) *service {
	t.Helper()
	dir := t.TempDir()
	s := &service{T: t, socket: filepath.Join(dir, "metrics.sock"), config: filepath.Join(dir, "config.toml"), code: make(chan int, 1)}
	s.app, _ = testApp(t, io.Discard, &s.errs)
	s.configure(config)
	t.Setenv("THINCTL_CONFIG", s.config)
	notify := filepath.Join(dir, "notify")
	var err error
	if s.notes, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.notes.Close() })
	t.Setenv("NOTIFY_SOCKET", notify)
	s.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.socket)
	}}}
	return s
}

func (s *service) configure(text string) {
	s.Helper()
	if err := os.WriteFile(s.config, []byte("[serve]\nlisten = \"unix:"+s.socket+"\"\n"+text), 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s *service) do(args string) {
	s.Helper()
	if code := run(context.Background(), s.app, strings.Fields(args)); code != 0 {
		s.Fatalf("%s: exit code %d: %s", args, code, s.errs.String())
	}
}

func (s *service) start(args ...string) {
	ctx, end := context.WithCancelCause(context.Background())
	s.end = end
	go func() { s.code <- run(ctx, s.app, append([]string{"serve"}, args...)) }()
}

// waitFor waits until the daemon sends a state to the service manager.
func (s *service) waitFor(state string) string {
	s.Helper()
	if err := s.notes.SetReadDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		s.Fatal(err)
	}
	b := make([]byte, 4096)
	for {
		n, err := s.notes.Read(b)
		if err != nil {
			s.Fatalf("the service manager did not get %q: %v\n%s", state, err, s.errs.String())
		}
		if strings.HasPrefix(string(b[:n]), state) {
			return string(b[:n])
		}
	}
}

func (s *service) get(path string) (int, string) {
	s.Helper()
	answer, err := s.client.Get("http://thinctl" + path)
	if err != nil {
		s.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// TestServe checks a daemon from its start to its end: scrapes, a second daemon, a reload, and a
// reload of an invalid configuration.
func TestServe(t *testing.T) {
	s := serveTest(t, "log_format = \"json\"\n")
	s.do("pool create vault --data-size 1G --metadata-size 16M")
	s.start("--interval", "1s")
	if got := s.waitFor("READY=1"); !strings.Contains(got, "STATUS=1 pool") {
		t.Errorf("ready: %q", got)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": "thinctl_"} {
		if code, body := s.get(path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	for _, path := range []string{"/debug/pprof/", "/else"} {
		if code, _ := s.get(path); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
	var errs bytes.Buffer
	second := *s.app
	second.Err = &errs
	if code := run(context.Background(), &second, []string{"serve", "--listen", "unix:" + s.socket + "2"}); code != exit.CodeBusy || !strings.Contains(errs.String(), "another daemon serves these pools") {
		t.Errorf("a second daemon: exit code %d, %q", code, errs.String())
	}
	hup := func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	s.configure("log_format = \"json\"\n[extend]\nenabled = false\n")
	hup()
	if got := s.waitFor("RELOADING=1"); !strings.Contains(got, "MONOTONIC_USEC=") {
		t.Errorf("reloading: %q", got)
	}
	s.waitFor("READY=1")
	s.configure("frob = 1\n")
	hup()
	if got := s.waitFor("READY=1\nSTATUS=the configuration has errors"); !strings.Contains(got, "the old one is still used") {
		t.Errorf("a bad configuration: %q", got)
	}
	if !strings.Contains(s.errs.String(), `config.toml:3: serve.frob: no such key`) {
		t.Errorf("got a log without the fault:\n%s", s.errs.String())
	}
	s.do("pool status vault")
	s.end(exit.ErrInterrupted)
	s.waitFor("STOPPING=1")
	select {
	case code := <-s.code:
		if code != 0 {
			t.Errorf("exit code %d:\n%s", code, s.errs.String())
		}
	case <-time.After(5 * time.Minute):
		t.Fatal("it does not end")
	}
	if _, err := os.Lstat(s.socket); err == nil {
		t.Error("the socket is left")
	}
	s.do("pool status vault")
}

// TestServeAddressTaken checks that a daemon replaces the socket of a killed one, and reports a
// port in use.
func TestServeAddressTaken(t *testing.T) {
	s := serveTest(t, "pprof = true\n")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	var errs bytes.Buffer
	second := *s.app
	second.Err = &errs
	if code := run(context.Background(), &second, []string{"serve"}); code != exit.CodeBusy || !strings.Contains(errs.String(), "address already in use; ") {
		t.Errorf("a socket in use: exit code %d, %q", code, errs.String())
	}
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	errs.Reset()
	if code := run(context.Background(), &second, []string{"serve", "--listen", port.Addr().String()}); code != exit.CodeBusy || !strings.Contains(errs.String(), "stop the process that listens there") {
		t.Errorf("a port in use: exit code %d, %q", code, errs.String())
	}
	dead.Close()
	s.start()
	s.waitFor("READY=1")
	if code, body := s.get("/debug/pprof/"); code != http.StatusOK || !strings.Contains(body, "goroutine") {
		t.Errorf("profiles: %d %q", code, body)
	}
	s.end(exit.ErrInterrupted)
	if code := <-s.code; code != 0 {
		t.Errorf("exit code %d: %s", code, s.errs.String())
	}
}

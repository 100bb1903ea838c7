package alerts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"thinctl/internal/testkit/need"
	"thinctl/tests/debian"
)

// projectFile returns the path of a file of the project.
func projectFile(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../..", path))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// program returns the path of a program of a Debian package.
func program(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := debian.Unpacked(t.Context(), name, pkg)
	need.Ready(t, name, err)
	return path
}

func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", filepath.Base(name), args, err, out)
	}
	return string(out)
}

// server is a Prometheus that scrapes an exporter each second.
type server struct{ url string }

const configuration = `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: thinctl
    static_configs: [{targets: [%q]}]
`

func startPrometheus(t *testing.T, exporter, rules string) server {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, configuration, rules, exporter), 0o644); err != nil {
		t.Fatal(err)
	}
	// The port was free a moment ago: Prometheus does not report which one it listens on.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()

	var log bytes.Buffer
	cmd := exec.Command(program(t, "prometheus", "prometheus"), "--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(dir, "tsdb"), "--web.listen-address="+address)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("output of Prometheus:\n%s", log.String())
		}
	})
	s := server{url: "http://" + address}
	// Rates need two scrapes; records of them need another evaluation.
	s.await(t, ended, `count_over_time(up[1m]) >= 4`)
	s.await(t, ended, `count_over_time(operation:thinctl_errors:ratio_rate5m[1m]) >= 1`)
	return s
}

// await waits until an expression gives a series.
func (s server) await(t *testing.T, ended chan error, expr string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Minute)
	var last error
	for {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("Prometheus ended: %v", err)
		case <-deadline:
			t.Fatalf("%s: no series within a minute: %v", expr, last)
		case <-tick.C:
		}
		var series []json.RawMessage
		if series, last = s.query(t.Context(), expr); last == nil && len(series) > 0 {
			return
		}
	}
}

// query returns the present series of an expression.
func (s server) query(ctx context.Context, expr string) ([]json.RawMessage, error) {
	var answer struct {
		Result []json.RawMessage `json:"result"`
	}
	err := s.get(ctx, "/api/v1/query?"+url.Values{"query": {expr}}.Encode(), &answer)
	return answer.Result, err
}

func (s server) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var envelope struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&envelope); err != nil {
		return err
	}
	if envelope.Status != "success" {
		return errors.New(envelope.Error)
	}
	return json.Unmarshal(envelope.Data, into)
}

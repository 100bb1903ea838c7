package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"thinctl/internal/doctor"
	"thinctl/internal/testkit/dmtest"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
)

func testApp(t *testing.T, out, errs io.Writer) (*app, *fakeHost) {
	t.Helper()
	host := newFakeHost(dmtest.Options{})
	root := filepath.Join(t.TempDir(), "root")
	t.Setenv("THINCTL_ROOT", root)
	return &app{in: strings.NewReader(""), out: out, err: errs, getenv: os.Getenv, euid: func() int { return 0 },
		host: host.open, files: newFakeFiles(host.kernel), probe: doctor.Local()}, host
}

// TestEnvironment: a flag goes before the environment.
func TestEnvironment(t *testing.T) {
	var out, errs bytes.Buffer
	a, _ := testApp(t, &out, &errs)
	if code := a.run(context.Background(), []string{"pool", "create", "vault", "--data-size", "1G", "--metadata-size", "16M"}); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	t.Setenv("THINCTL_JSON", "1")
	for _, test := range []struct{ args, want string }{
		{"pool list", `"name": "vault"`},
		{"pool list --json=false", "vault  rw"},
		{"pool list --root " + t.TempDir(), `"pools": []`},
	} {
		out.Reset()
		a.out = &out
		if code := a.run(context.Background(), strings.Fields(test.args)); code != 0 || !strings.Contains(out.String(), test.want) {
			t.Errorf("%s: exit code %d, %q, want %q", test.args, code, out.String(), test.want)
		}
	}
	t.Setenv("THINCTL_TIMEOUT", "soon")
	if code := a.run(context.Background(), []string{"pool", "list"}); code != codeUsage {
		t.Errorf("THINCTL_TIMEOUT=soon: exit code %d, want %d", code, codeUsage)
	}
}

// TestResultNotWritten: a result that nobody got is no success.
func TestResultNotWritten(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, args := range []string{"pool list", "pool list --json", "version", "--help", "completion bash"} {
		var errs bytes.Buffer
		a, _ := testApp(t, full, &errs)
		if code := a.run(context.Background(), strings.Fields(args)); code != codeFailed || !strings.Contains(errs.String(), "no space left") {
			t.Errorf("%s: exit code %d, %q", args, code, errs.String())
		}
	}
}

// TestInterrupted: what an interrupt ends leaves nothing, and exits 130.
func TestInterrupted(t *testing.T) {
	var out, errs bytes.Buffer
	a, host := testApp(t, &out, &errs)
	ctx, cancel := context.WithCancelCause(context.Background())
	host.kernel.SetFault(func(c dmtest.Call) error {
		if c.Op == "load" {
			cancel(errInterrupted)
		}
		return nil
	})
	code := a.run(ctx, []string{"pool", "create", "vault", "--data-size", "1G", "--metadata-size", "16M"})
	if code != codeInterrupted || !strings.Contains(errs.String(), "interrupted: run it again to go on") {
		t.Errorf("exit code %d, %q", code, errs.String())
	}
	entries, err := host.kernel.List(context.Background())
	if err != nil || len(entries) > 0 || len(host.loops.Attached()) > 0 {
		t.Errorf("left behind: %v, %v, %v", entries, host.loops.Attached(), err)
	}
	if names, err := thinpool.List(os.Getenv("THINCTL_ROOT")); err != nil || len(names) > 0 {
		t.Errorf("pools: %v, %v", names, err)
	}
}

// TestPromptInterrupted: an interrupt ends the wait for an answer.
func TestPromptInterrupted(t *testing.T) {
	var out, errs bytes.Buffer
	a, _ := testApp(t, &out, &errs)
	if code := a.run(context.Background(), []string{"pool", "create", "vault", "--data-size", "1G", "--metadata-size", "16M"}); code != 0 {
		t.Fatal(errs.String())
	}
	never, stop := io.Pipe()
	defer stop.Close()
	a.in, a.dialog = never, true
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(20*time.Millisecond, func() { cancel(errInterrupted) })
	if code := a.run(ctx, []string{"pool", "destroy", "vault"}); code != codeInterrupted {
		t.Errorf("exit code %d, want %d: %s", code, codeInterrupted, errs.String())
	}
}

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

func TestProgress(t *testing.T) {
	var errs syncBuffer
	p := progressLine{w: &errs, on: true}
	p.start("quick")()
	if errs.String() != "" {
		t.Errorf("a quick command says %q", errs.String())
	}
	done := p.start("slow %s", "work")
	time.Sleep(progressAfter + 300*time.Millisecond)
	done()
	done()
	if got := errs.String(); !strings.HasPrefix(got, "\rslow work ... ") || !strings.HasSuffix(got, "\r\033[K") {
		t.Errorf("a slow command says %q", got)
	}
	silent := progressLine{w: &errs}
	before := errs.String()
	done = silent.start("unseen")
	time.Sleep(progressAfter + 100*time.Millisecond)
	done()
	if errs.String() != before {
		t.Error("progress is written where nobody looks")
	}
}

func TestReading(t *testing.T) {
	var errs syncBuffer
	p := progressLine{w: &errs, on: true}
	read, done := p.reading("checking %s", "it")
	read(metadata.Progress{Read: 7, Known: 9})
	time.Sleep(progressAfter + 100*time.Millisecond)
	done()
	if got := errs.String(); !strings.HasPrefix(got, "\rchecking it ... ") || !strings.Contains(got, "s, 7 of 9 blocks") {
		t.Errorf("a slow check: got %q, want the time and 7 of 9 blocks", got)
	}
}

func TestColors(t *testing.T) {
	for _, test := range []struct {
		args, env string
		want      bool
	}{{"doctor", "", true}, {"doctor --no-color", "", false}, {"--no-color doctor", "", false}, {"doctor", "1", false}, {"doctor --json", "", false}} {
		t.Setenv("NO_COLOR", test.env)
		var out, errs bytes.Buffer
		a, _ := testApp(t, &out, &errs)
		a.colorOn = true
		a.run(context.Background(), strings.Fields(test.args))
		if got := strings.Contains(out.String(), "\033["); got != test.want {
			t.Errorf("%s, NO_COLOR=%q: colors %t, want %t", test.args, test.env, got, test.want)
		}
	}
}

// TestHostCloses: the host is closed, whatever happens.
func TestHostCloses(t *testing.T) {
	var out, errs bytes.Buffer
	a, host := testApp(t, &out, &errs)
	opened, closed := 0, 0
	a.host = func(logger *slog.Logger) (thinpool.Host, io.Closer, error) {
		opened++
		h, _, err := host.open(logger)
		return h, closeFunc(func() error { closed++; return errors.New("will not close") }), err
	}
	for _, args := range []string{"pool list", "pool status nope", "doctor"} {
		a.run(context.Background(), strings.Fields(args))
	}
	if opened != 3 || closed != 3 {
		t.Errorf("opened %d times, closed %d times", opened, closed)
	}
}

type closeFunc func() error

func (f closeFunc) Close() error { return f() }

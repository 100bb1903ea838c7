package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/doctor"
	"thinctl/internal/testkit/dmtest"
	"thinctl/thinpool"
)

func testApp(t *testing.T, out, errs io.Writer) (*command.Environment, *fakeHost) {
	t.Helper()
	host := newFakeHost(dmtest.Options{})
	root := filepath.Join(t.TempDir(), "root")
	t.Setenv("THINCTL_ROOT", root)
	return &command.Environment{In: strings.NewReader(""), Out: out, Err: errs, Getenv: os.Getenv, EUID: func() int { return 0 },
		OpenHost: host.open, Files: newFakeFiles(host.kernel), Probe: doctor.Local()}, host
}

// TestEnvironment checks that a flag overrides the environment.
func TestEnvironment(t *testing.T) {
	var out, errs bytes.Buffer
	a, _ := testApp(t, &out, &errs)
	if code := run(context.Background(), a, []string{"pool", "create", "vault", "--data-size", "1G", "--metadata-size", "16M"}); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	t.Setenv("THINCTL_JSON", "1")
	for _, test := range []struct{ args, want string }{
		{"pool list", `"name": "vault"`},
		{"pool list --json=false", "vault  rw"},
		{"pool list --root " + t.TempDir(), `"pools": []`},
	} {
		out.Reset()
		a.Out = &out
		if code := run(context.Background(), a, strings.Fields(test.args)); code != 0 || !strings.Contains(out.String(), test.want) {
			t.Errorf("%s: exit code %d, %q, want %q", test.args, code, out.String(), test.want)
		}
	}
	t.Setenv("THINCTL_TIMEOUT", "soon")
	if code := run(context.Background(), a, []string{"pool", "list"}); code != exit.CodeUsage {
		t.Errorf("THINCTL_TIMEOUT=soon: exit code %d, want %d", code, exit.CodeUsage)
	}
}

// TestResultNotWritten checks that a command fails if its result cannot be written.
func TestResultNotWritten(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, args := range []string{"pool list", "pool list --json", "version", "--help", "completion bash"} {
		var errs bytes.Buffer
		a, _ := testApp(t, full, &errs)
		if code := run(context.Background(), a, strings.Fields(args)); code != exit.CodeFailed || !strings.Contains(errs.String(), "no space left") {
			t.Errorf("%s: exit code %d, %q", args, code, errs.String())
		}
	}
}

// TestInterrupted checks that an interrupted command undoes its work and exits 130.
func TestInterrupted(t *testing.T) {
	var out, errs bytes.Buffer
	a, host := testApp(t, &out, &errs)
	ctx, cancel := context.WithCancelCause(context.Background())
	host.kernel.SetFault(func(c dmtest.Call) error {
		if c.Op == "load" {
			cancel(exit.ErrInterrupted)
		}
		return nil
	})
	code := run(ctx, a, []string{"pool", "create", "vault", "--data-size", "1G", "--metadata-size", "16M"})
	if code != exit.CodeInterrupted || !strings.Contains(errs.String(), "interrupted: run the command again to continue") {
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

// TestPromptInterrupted checks that an interrupt ends the wait for an answer.
func TestPromptInterrupted(t *testing.T) {
	var out, errs bytes.Buffer
	a, _ := testApp(t, &out, &errs)
	if code := run(context.Background(), a, []string{"pool", "create", "vault", "--data-size", "1G", "--metadata-size", "16M"}); code != 0 {
		t.Fatal(errs.String())
	}
	never, stop := io.Pipe()
	defer stop.Close()
	a.In, a.Dialog = never, true
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(20*time.Millisecond, func() { cancel(exit.ErrInterrupted) })
	if code := run(ctx, a, []string{"pool", "destroy", "vault"}); code != exit.CodeInterrupted {
		t.Errorf("exit code %d, want %d: %s", code, exit.CodeInterrupted, errs.String())
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
		a.ColorOn = true
		run(context.Background(), a, strings.Fields(test.args))
		if got := strings.Contains(out.String(), "\033["); got != test.want {
			t.Errorf("%s, NO_COLOR=%q: colors %t, want %t", test.args, test.env, got, test.want)
		}
	}
}

// TestHostCloses checks that the host is closed, also after an error.
func TestHostCloses(t *testing.T) {
	var out, errs bytes.Buffer
	a, host := testApp(t, &out, &errs)
	opened, closed := 0, 0
	a.OpenHost = func(logger *slog.Logger) (thinpool.Host, io.Closer, error) {
		opened++
		h, _, err := host.open(logger)
		return h, closeFunc(func() error { closed++; return errors.New("will not close") }), err
	}
	for _, args := range []string{"pool list", "pool status nope", "doctor"} {
		run(context.Background(), a, strings.Fields(args))
	}
	if opened != 3 || closed != 3 {
		t.Errorf("opened %d times, closed %d times", opened, closed)
	}
}

type closeFunc func() error

func (f closeFunc) Close() error { return f() }

package program

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"thinctl/fault"
)

func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prog")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRun(t *testing.T) {
	t.Setenv("THINCTL_SECRET", "x")
	cases := []struct {
		name, text string
		args       []string
		status     int
		lines      []string
	}{
		{"success", "echo out; echo err >&2", nil, 0, []string{"out", "err"}},
		{"failure", "echo bad; exit 3", nil, 3, []string{"bad"}},
		{"a signal", "kill -9 $$", nil, -1, nil},
		{"arguments as they are", `printf '%s\n' "$@"`, []string{"a b", "$HOME;`id`", "*"}, 0, []string{"a b", "$HOME;`id`", "*"}},
		{"environment", "env | grep -e LC_ALL -e THINCTL", nil, 0, []string{"LC_ALL=C"}},
		{"no input", "cat; echo end", nil, 0, []string{"end"}},
		{"control characters", `printf 'a\033[31mb\007\bc\r50%%\rd\te\377\n\n'`, nil, 0, []string{"a[31mbc", "50%", "d e?"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Run(t.Context(), script(t, c.text), c.args...)
			if got.Status != c.status || !slices.Equal(got.Lines, c.lines) || got.Cut {
				t.Errorf("got %+v, want status %d and %q", got, c.status, c.lines)
			}
			var exit *ExitError
			if (c.status != 0) != errors.As(err, &exit) {
				t.Errorf("got error %v", err)
			}
		})
	}
}

func TestRunTellsTheFirstAndLastLines(t *testing.T) {
	_, err := Run(t.Context(), script(t, "seq 1 9; exit 1"))
	if err == nil || err.Error() != "prog failed (exit status 1): 1; 2; ...; 6; 7; 8; 9" {
		t.Errorf("got %v", err)
	}
}

func TestRunBoundsTheOutput(t *testing.T) {
	got, err := Run(t.Context(), script(t, "seq 1 200000"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Lines) != keptLines || got.Lines[keptLines-1] != "200000" || !got.Cut {
		t.Errorf("%d lines to %q", len(got.Lines), got.Lines[len(got.Lines)-1])
	}
	got, err = Run(t.Context(), script(t, "head -c 300000 /dev/zero | tr '\\0' x"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Lines) != 1 || len(got.Lines[0]) != keptWidth+3 || !got.Cut {
		t.Errorf("%d lines, cut %v", len(got.Lines), got.Cut)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
	start := time.Now()
	got, err := Run(ctx, script(t, "echo begun; exec sleep 600"))
	if !errors.Is(err, why) || got.Status != -1 || !slices.Equal(got.Lines, []string{"begun"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if took := time.Since(start); took > 5*time.Minute {
		t.Errorf("got the end after %v", took)
	}
	if _, err := Run(ctx, script(t, "")); !errors.Is(err, why) || !strings.Contains(err.Error(), "not started") {
		t.Errorf("with a dead context: got %v", err)
	}
}

// A grandchild that keeps the pipe open must not block the caller.
func TestRunLeavesGrandchildrenBehind(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	start := time.Now()
	_, err := run(t.Context(), 200*time.Millisecond, script(t, "sleep 600 & echo $! > "+pid))
	if err == nil || time.Since(start) > 5*time.Minute {
		t.Errorf("got %v after %v", err, time.Since(start))
	}
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	grandchild, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(grandchild, syscall.SIGKILL); err != nil {
		t.Errorf("the grandchild did not outlive it: got %v", err)
	}
}

func TestFind(t *testing.T) {
	p := Program{Name: "prog", Packages: "progs (Debian)"}
	have := filepath.Dir(script(t, ""))
	plain := t.TempDir()
	if err := os.WriteFile(filepath.Join(plain, "prog"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := p.Find([]string{plain, ".", have}); err != nil || got != filepath.Join(have, "prog") {
		t.Errorf("got %q, %v", got, err)
	}
	_, err := p.Find([]string{plain})
	if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "install progs (Debian)") {
		t.Errorf("got %v", err)
	}
	t.Setenv("PATH", "relative:"+have)
	if got, err := p.Find(nil); err != nil || got != filepath.Join(have, "prog") {
		t.Errorf("by PATH: got %q, %v", got, err)
	}
	if _, err := (Program{Name: "sh"}).Find(nil); err != nil {
		t.Errorf("outside PATH: got %v", err)
	}
}

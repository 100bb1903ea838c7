package cli

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"thinctl/internal/cli/exit"
	"thinctl/internal/testkit/need"
)

// TestBinary runs the program for cases that need no device mapper.
func TestBinary(t *testing.T) {
	root := t.TempDir()
	for _, test := range []struct {
		args, stdout, stderr string
		code                 int
	}{
		{"version", "thinctl:", "", 0},
		{"pool destroy p1 --dryrun", "", "thinctl: pool destroy: unknown flag --dryrun; did you mean --dry-run?", exit.CodeUsage},
		{"pool create", "", "thinctl: pool create: NAME is missing", exit.CodeUsage},
		{"image load", "", "thinctl: image load: POOL is missing", exit.CodeUsage},
		{"help container commit", "Copies nothing", "", 0},
		{"pool li --generate-bash-completion", "list\n", "", 0},
		{"help volume mount", "Formats nothing.", "", 0},
	} {
		cmd := exec.Command("thinctl-binary", strings.Fields(test.args)...)
		cmd.Env = append(os.Environ(), "THINCTL_ROOT="+root)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.Contains(out.String(), test.stdout) || !strings.Contains(errs.String(), test.stderr) {
			t.Errorf("%s: got exit code %d, stdout %q, stderr %q, want %d, %q, %q", test.args, code, out.String(), errs.String(),
				test.code, test.stdout, test.stderr)
		}
	}
}

// TestSignals checks that the first signal ends the context and the second one the process.
func TestSignals(t *testing.T) {
	exits := make(chan int, 1)
	ctx, stop := untilSignal(t.Context(), func(code int) { exits <- code })
	defer stop()
	send := func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	send()
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Minute):
		t.Fatal("the first signal does not end the context")
	}
	send()
	select {
	case code := <-exits:
		if code != exit.CodeInterrupted {
			t.Errorf("exit code %d, want %d", code, exit.CodeInterrupted)
		}
	case <-time.After(5 * time.Minute):
		t.Fatal("the second signal does not end the process")
	}
}

// TestBashCompletes runs the completion script in bash.
func TestBashCompletes(t *testing.T) {
	bash := need.Program(t, "bash")
	for _, test := range []struct{ line, want string }{
		{"thinctl-binary pool st", "status"},
		{"thinctl-binary pool destroy --dr", "--dry-run"},
		{"thinctl-binary volume create p v --fs ", "ext4 xfs"},
		{"thinctl-binary image pu", "pull push"},
		{"thinctl-binary --root=/tmp comp", "completion"},
		{"thinctl-binary pool create p --data-device /dev/zer", ""},
	} {
		script := `source completion/completions/thinctl.bash
COMP_LINE=$1 COMP_POINT=${#1}
read -r -a COMP_WORDS <<<"$1"; [[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_thinctl; echo "${COMPREPLY[@]}"`
		out, err := exec.Command(bash, "-c", script, "bash", test.line).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != test.want {
			t.Errorf("%q: %q, %v, want %q", test.line, got, err, test.want)
		}
	}
}

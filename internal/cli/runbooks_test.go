package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"thinctl/docs/runbooks"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/commandline"
	"thinctl/internal/cli/exit"
	"thinctl/internal/doctor"
	"thinctl/thinpool"
)

// TestRunbookCommandsExist checks that the commands in runbooks exist and accept their flags and
// arguments.
func TestRunbookCommandsExist(t *testing.T) {
	quoted := regexp.MustCompile("`(thinctl [^`]+)`")
	variable := regexp.MustCompile(`\$[A-Z_]+`)
	pasted := 0
	for _, name := range runbooks.Names() {
		text, _ := runbooks.Text(name)
		steps, err := runbooks.Commands(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, step := range steps {
			command, ours := strings.CutPrefix(variable.ReplaceAllString(step.Command, "1G"), "thinctl ")
			if !ours {
				continue
			}
			pasted++
			if errs := parseOnly(t, strings.Fields(command)); errs != "" {
				t.Errorf("%s.md:%d: `%s`: %s", name, step.Line, step.Command, errs)
			}
		}
		for _, match := range quoted.FindAllStringSubmatch(text, -1) {
			if _, err := commandline.Parse(newApp(&command.Environment{}), strings.Fields(match[1])[1:]); err != nil {
				t.Errorf("%s.md: `%s`: %v", name, match[1], err)
			}
		}
	}
	if pasted < 100 {
		t.Errorf("only %d commands", pasted)
	}
}

var errNoHost = errors.New("no host in this test")

// parseOnly runs a command line until it opens the host, and returns the usage error, if any.
func parseOnly(t *testing.T, words []string) string {
	t.Helper()
	t.Setenv("THINCTL_ROOT", t.TempDir())
	var errs strings.Builder
	a := &command.Environment{In: strings.NewReader(""), Out: io.Discard, Err: &errs, Getenv: os.Getenv, EUID: func() int { return 0 }, Probe: doctor.Local(),
		OpenHost: func(*slog.Logger) (thinpool.Host, io.Closer, error) { return thinpool.Host{}, nil, errNoHost }}
	if run(context.Background(), a, words) == exit.CodeUsage {
		return errs.String()
	}
	return ""
}

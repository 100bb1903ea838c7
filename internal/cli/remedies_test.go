package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"thinctl/internal/cli/command"
	"thinctl/internal/doctor"
	"thinctl/internal/testkit/dmtest"
	"thinctl/tests/drills"
	"thinctl/thinpool"
)

// TestRemedies checks that the remedies printed in each state lead to a sound pool, or to a list
// of what is lost and kept. tests/drills does the same on a real kernel.
func TestRemedies(t *testing.T) {
	for _, state := range drills.States() {
		t.Run(state.Name, func(t *testing.T) {
			host, root := newFakeHost(dmtest.Options{}), t.TempDir()
			run := func(command string) (string, int) {
				if words := strings.Fields(command); words[0] == "truncate" {
					size, err := strconv.ParseInt(words[2], 10, 64)
					if err == nil {
						err = os.Truncate(words[3], size)
					}
					return fmt.Sprint(err), map[bool]int{false: 1}[err == nil]
				}
				return inMemory(host, root, command)
			}
			thinctl := func(line string) error {
				if printed, code := run("thinctl " + line); code != 0 {
					return fmt.Errorf("thinctl %s: exit status %d: %s", line, code, printed)
				}
				return nil
			}
			place := drills.Place{Root: root, Thinctl: thinctl}
			if err := place.Prepare(); err != nil {
				t.Fatal(err)
			}
			if err := state.Bring(place); err != nil {
				t.Fatal(err)
			}
			pool := state.Pool
			if pool == "" {
				pool = "vault"
			}
			got, ran, err := drills.FollowRemedies(run, "thinctl pool activate "+pool, "thinctl pool check "+pool)
			t.Logf("%s, after\n%s", got, strings.Join(ran, "\n"))
			if err != nil || got != state.Want {
				t.Errorf("%s, %v; want %s, after\n%s", got, err, state.Want, strings.Join(ran, "\n"))
			}
			if state.Want != drills.Sound || t.Failed() {
				return
			}
			if err := thinctl("pool activate " + pool); err != nil {
				t.Error(err)
			}
			printed, _ := run("thinctl volume list " + pool)
			var names []string
			for line := range strings.Lines(printed) {
				names = append(names, strings.Fields(line)[0])
			}
			if want := append([]string{"NAME"}, state.Volumes...); !slices.Equal(names, want) {
				t.Errorf("volumes %q, want %q", names, want)
			}
		})
	}
}

// inMemory runs a command line of thinctl on a host in memory.
func inMemory(host *fakeHost, root, line string) (printed string, code int) {
	var out bytes.Buffer
	a := &command.Environment{In: strings.NewReader(""), Out: &out, Err: &out, Getenv: func(string) string { return "" }, EUID: func() int { return 0 },
		Files: newFakeFiles(host.kernel), Probe: doctor.Local(),
		OpenHost: func(logger *slog.Logger) (thinpool.Host, io.Closer, error) { return host.open(logger) }}
	code = run(context.Background(), a, append([]string{"--root=" + root}, strings.Fields(line)[1:]...))
	return out.String(), code
}

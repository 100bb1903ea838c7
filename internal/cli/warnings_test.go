package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
)

// keptWarnings is the bound on the warnings that a command keeps.
const keptWarnings = 100

// TestWarnings reads a command's warnings from standard error and from its JSON.
func TestWarnings(t *testing.T) {
	run := func(n int, words ...string) (out, errs string) {
		var o, e bytes.Buffer
		a := &command.Environment{Out: &o, Err: &e, Getenv: func(string) string { return "" }}
		root := newApp(a)
		root.Commands = []*cli.Command{a.Command(command.Spec{Name: "odd", Run: func(c *command.Call) error {
			for i := range n {
				c.Warn().In("a.tar", "").Add("x\033[1m", "odd %d", i)
				c.Warn().In("a.tar", "").Add("x\033[1m", "odd %d", i)
			}
			return c.Show(struct {
				output.Envelope
				command.WarnedView
			}{output.Schema(), c.Warned()}, func(w io.Writer) { fmt.Fprintln(w, "result") })
		}})}
		if err := root.RunContext(context.Background(), append([]string{"thinctl"}, words...)); err != nil {
			t.Fatal(err)
		}
		return o.String(), e.String()
	}
	out, errs := run(2, "odd")
	if want := "thinctl: warning: a.tar: x [1m: odd 0\nthinctl: warning: a.tar: x [1m: odd 1\n"; errs != want || out != "result\n" {
		t.Errorf("standard error has %q, want %q; the result is %q", errs, want, out)
	}
	out, errs = run(2, "--json", "odd")
	var view struct{ Warnings []string }
	if err := json.Unmarshal([]byte(out), &view); err != nil || len(view.Warnings) != 2 || strings.Count(errs, "\n") != 2 {
		t.Errorf("JSON has %q (%v), standard error %q; want 2 warnings in both", view.Warnings, err, errs)
	}
	if out, _ = run(0, "--json", "odd"); !strings.Contains(out, `"warnings": []`) {
		t.Errorf("without warnings: got JSON %s, want an empty list", out)
	}
	if _, errs = run(keptWarnings+3, "odd"); strings.Count(errs, "\n") != keptWarnings+1 || !strings.Contains(errs, "6 more warnings not shown") {
		t.Errorf("%d warnings: got %q, want %d of them and the number of the others", keptWarnings+3, errs, keptWarnings)
	}
}

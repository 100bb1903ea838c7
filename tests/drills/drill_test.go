package drills

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"thinctl/docs/runbooks"
)

func TestSteps(t *testing.T) {
	text := strings.ReplaceAll("## Check\n'''console\n# one\n'''\n## Act\n### A\n'''console\n# two\n'''\n### B\n'''console\n# three\n# four\n'''\n", "'''", "```")
	for _, test := range []struct {
		drill Drill
		want  string
	}{
		{Drill{}, "[one]"},
		{Drill{Cases: []string{"B"}}, "[one three four]"},
		{Drill{Cases: []string{"A", "B"}, Last: "two"}, "[one two]"},
		{Drill{Cases: []string{"A", "B"}, After: "two"}, "[three four]"},
		{Drill{Cases: []string{"C"}}, "no commands stand below \"C\""},
		{Drill{After: "five"}, "no command \"five\""},
	} {
		var got []string
		steps, err := test.drill.steps(text)
		for _, step := range steps {
			got = append(got, step.Command)
		}
		if answer := fmt.Sprint(got, err); !strings.Contains(answer, test.want) {
			t.Errorf("%+v: %s, want %s", test.drill, answer, test.want)
		}
	}
}

// Text that a runbook expects must be seen, and no other text is used.
func TestPaste(t *testing.T) {
	shell, err := NewShell(context.Background(), map[string]string{"PID": "42"})
	if err != nil {
		t.Fatal(err)
	}
	defer shell.Close()
	f := follower{Drill: Drill{Runbook: "leak", Read: map[string]string{"PID": "42"}}, shell: shell, logf: t.Logf}
	for _, test := range []struct {
		step runbooks.Step
		why  string
	}{
		{runbooks.Step{Command: "echo $PID", Code: "0"}, "nothing has shown PID"},
		{runbooks.Step{Command: "echo pid 42", Code: "0", Want: []string{"pid ..."}}, ""},
		{runbooks.Step{Command: "echo $PID", Code: "0", Want: []string{"43"}}, "got output"},
		{runbooks.Step{Command: "false", Code: "0"}, "ends with 1"},
		{runbooks.Step{Command: "true", Code: "6"}, "ends with 0"},
	} {
		err := f.paste(test.step)
		if test.why == "" && err != nil || test.why != "" && (err == nil || !strings.Contains(err.Error(), test.why)) {
			t.Errorf("%+v: %v, want %q", test.step, err, test.why)
		}
	}
}

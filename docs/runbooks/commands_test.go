package runbooks

import (
	"reflect"
	"strings"
	"testing"
)

func TestCommands(t *testing.T) {
	text := strings.ReplaceAll(`# Title

## Check

'''console
# one $POOL
a ... b
# two
# echo $?
6
'''

## Act

### With a case

'''toml
# no command
'''

'''console
# three
'''

## Verify

'''console
# four
'''
`, "'''", "```")
	got, err := Commands(text)
	want := []Step{
		{Section: "Check", Line: 6, Command: "one $POOL", Want: []string{"a ... b"}, Code: "0"},
		{Section: "Check", Line: 8, Command: "two", Code: "6"},
		{Section: "Check", Line: 9, Command: "echo $?", Want: []string{"6"}, Code: "0"},
		{Section: "Act", Case: "With a case", Line: 22, Command: "three", Code: "0"},
		{Section: "Verify", Line: 28, Command: "four", Code: "0"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestBadCommands(t *testing.T) {
	for why, text := range map[string]string{
		"is not closed":         "## Act\n```console\n# one\n",
		"before any command":    "## Act\n```console\none\n```\n",
		"which may have none":   "## Symptom\n```console\n# one\n```\n",
		"unknown mark \"bash\"": "## Act\n```bash\none\n```\n",
		"a block starts within": "## Act\n```console\n# one\n```console\n```\n",
	} {
		if steps, err := Commands(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("Commands(%q): got %+v, %v, want an error that contains %q", text, steps, err, why)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		want, got string
		match     bool
	}{
		{"sound", "sound\n", true},
		{"sound", "sound\nbut\n", false},
		{"sound", "", false},
		{"...", "", true},
		{"...\nState: rw\n...", "Name:   vault\nState:   rw\nWhen Full: queue\n", true},
		{"...\nState: rw\n...", "State:   rw\n", true},
		{"...\nState: rw\n...", "State:   rw, needs check\n", false},
		{"...\nState: ro...\n...", "State:   ro, needs check\n", true},
		{"a ... c", "a b c", true},
		{"a ... b ... c", "a b c", false},
		{"a ...", "b a", false},
		{"... c", "a b c", true},
		{"...b...", "abc", true},
		{"...c...a", "abc", false},
	} {
		step := Step{Want: strings.Split(test.want, "\n")}
		if err := step.Matches(test.got); (err == nil) != test.match {
			t.Errorf("match of %q with %q: got error %v, want a match: %v", test.got, test.want, err, test.match)
		}
	}
	if err := (Step{}).Matches("anything"); err != nil {
		t.Error(err)
	}
}

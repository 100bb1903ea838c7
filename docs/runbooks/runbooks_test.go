package runbooks

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// codes are those that alerts and the daemon say. They never change.
func codes() []string {
	return strings.Fields(`at-maximum data-full data-low extend-failed held-root host-full host-low leak
		metadata-full metadata-low needs-check pool-failed pool-gone pool-inactive pool-read-only
		removal-waiting sample-stale scan-stale`)
}

func TestNames(t *testing.T) {
	if got := Codes(); !slices.Equal(got, codes()) {
		t.Errorf("codes %q, want %q", got, codes())
	}
	for _, name := range Procedures() {
		if _, ok := Text(name); !ok {
			t.Errorf("there is no %s.md", name)
		}
	}
	if text, ok := Text("no-such-code"); ok || text != "" {
		t.Errorf("a text of no code: %q", text)
	}
	if got := Title("data-full"); got != "Data space is full" {
		t.Errorf("the title is %q", got)
	}
	if got, want := Sentence("data-full"), "The pool has no free data block: writes to new places wait, or fail."; got != want {
		t.Errorf("the first sentence is %q, want %q", got, want)
	}
}

// Each runbook says what is seen, what to check, what to do and what has to be
// seen then, in that order.
func TestEach(t *testing.T) {
	titles := map[string]string{}
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			text, _ := Text(name)
			title := Title(name)
			if !strings.HasPrefix(text, "# ") || title == "" || titles[title] != "" {
				t.Errorf("the title %q: missing, or that of %s", title, titles[title])
			}
			titles[title] = name
			if sentence := Sentence(name); len(sentence) < 20 || !strings.HasSuffix(sentence, ".") {
				t.Errorf("the first sentence is %q", sentence)
			}
			var sections []string
			for _, match := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(text, -1) {
				sections = append(sections, match[1])
			}
			if !slices.Equal(sections, Sections()) {
				t.Errorf("sections %q, want %q", sections, Sections())
			}
			steps, err := Commands(text)
			if err != nil {
				t.Fatal(err)
			}
			checkSteps(t, text, steps)
			for _, match := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllStringSubmatch(text, -1) {
				if _, ok := Text(strings.TrimSuffix(match[1], ".md")); !ok {
					t.Errorf("a link to %s, which is not there", match[1])
				}
			}
			for i, line := range strings.Split(text, "\n") {
				if len([]rune(line)) > 90 && !strings.HasPrefix(line, "|") {
					t.Errorf("line %d is too long for a terminal", i+1)
				}
			}
		})
	}
}

func checkSteps(t *testing.T, text string, steps []Step) {
	t.Helper()
	for _, section := range Sections()[1:] {
		if !slices.ContainsFunc(steps, func(s Step) bool { return s.Section == section }) {
			t.Errorf("%s has no commands", section)
		}
	}
	decides := false
	for _, step := range steps {
		if step.Case != "" && step.Section != "Act" {
			t.Errorf("line %d: the case %q is not below Act", step.Line, step.Case)
		}
		decides = decides || step.Section == "Verify" && step.Want != nil && !slices.Equal(step.Want, []string{"..."})
		for _, match := range regexp.MustCompile(`\$\{?([A-Z_]+)`).FindAllStringSubmatch(step.Command, -1) {
			if !strings.Contains(text, "`"+match[1]+"=") {
				t.Errorf("line %d: nobody says what $%s is", step.Line, match[1])
			}
		}
	}
	if !decides {
		t.Error("Verify looks at nothing that must be seen")
	}
}

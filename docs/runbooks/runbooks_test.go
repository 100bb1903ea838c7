package runbooks

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// codes returns the codes of alerts and of the daemon's conditions. They never change.
func codes() []string {
	return strings.Fields(`at-maximum data-full data-low extend-failed held-root host-full host-low leak
		metadata-full metadata-low needs-check pool-failed pool-gone pool-inactive pool-read-only
		removal-waiting sample-stale scan-stale`)
}

func TestNames(t *testing.T) {
	if got := Codes(); !slices.Equal(got, codes()) {
		t.Errorf("got codes %q, want %q", got, codes())
	}
	for _, name := range Procedures() {
		if _, ok := Text(name); !ok {
			t.Errorf("got no runbook %s, want one", name)
		}
	}
	if text, ok := Text("no-such-code"); ok || text != "" {
		t.Errorf("got a text for an unknown code: %q", text)
	}
	if got := Title("data-full"); got != "Data space is full" {
		t.Errorf("got title %q, want %q", got, "Data space is full")
	}
	if got, want := Sentence("data-full"), "The pool has no free data block: writes to new blocks wait or fail."; got != want {
		t.Errorf("got first sentence %q, want %q", got, want)
	}
}

// Each runbook has a title of its own, the four sections in their order, valid
// code blocks and valid links.
func TestEachRunbook(t *testing.T) {
	titles := map[string]string{}
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			text, _ := Text(name)
			title := Title(name)
			if !strings.HasPrefix(text, "# ") || title == "" || titles[title] != "" {
				t.Errorf("got title %q, want one that differs from the title of %q", title, titles[title])
			}
			titles[title] = name
			if sentence := Sentence(name); len(sentence) < 20 || !strings.HasSuffix(sentence, ".") {
				t.Errorf("got first sentence %q, want at least 20 characters and a full stop", sentence)
			}
			var sections []string
			for _, match := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(text, -1) {
				sections = append(sections, match[1])
			}
			if !slices.Equal(sections, Sections()) {
				t.Errorf("got sections %q, want %q", sections, Sections())
			}
			steps, err := Commands(text)
			if err != nil {
				t.Fatal(err)
			}
			checkSteps(t, text, steps)
			for _, match := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllStringSubmatch(text, -1) {
				if _, ok := Text(strings.TrimSuffix(match[1], ".md")); !ok {
					t.Errorf("got a link to %s, want the name of a runbook", match[1])
				}
			}
			for i, line := range strings.Split(text, "\n") {
				if len([]rune(line)) > 90 && !strings.HasPrefix(line, "|") {
					t.Errorf("line %d: got %d characters, want at most 90", i+1, len([]rune(line)))
				}
			}
		})
	}
}

func checkSteps(t *testing.T, text string, steps []Step) {
	t.Helper()
	for _, section := range Sections()[1:] {
		if !slices.ContainsFunc(steps, func(s Step) bool { return s.Section == section }) {
			t.Errorf("got no commands in %s, want some", section)
		}
	}
	decides := false
	for _, step := range steps {
		if step.Case != "" && step.Section != "Act" {
			t.Errorf("line %d: got the heading %q in %s, want it in Act", step.Line, step.Case, step.Section)
		}
		decides = decides || step.Section == "Verify" && step.Want != nil && !slices.Equal(step.Want, []string{"..."})
		for _, match := range regexp.MustCompile(`\$\{?([A-Z_]+)`).FindAllStringSubmatch(step.Command, -1) {
			if !strings.Contains(text, "`"+match[1]+"=") {
				t.Errorf("line %d: got a use of $%s, want a text that sets it", step.Line, match[1])
			}
		}
	}
	if !decides {
		t.Error("got no expected output in Verify, want some")
	}
}

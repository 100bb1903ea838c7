// Package runbooks holds what to do at three in the morning: a text for each
// state of a pool that an alert may tell of, by its code, and for each procedure
// that an operator plans.
//
// # Words
//
// A code names a state and never changes: alerts, the daemon and
// `thinctl explain` say it. A procedure has a name, but nobody is woken for it.
// Both have a runbook: what is seen, what to check, what to do, and how to know
// that it has helped.
//
// # Caveats
//
// A drill (tests/drills) brings about what each runbook is for and pastes its
// commands, so what the blocks may hold is strict: see [Commands].
//
// # Example
//
//	for _, code := range runbooks.Codes() {
//		fmt.Println(code, runbooks.Sentence(code))
//	}
//	text, known := runbooks.Text("data-full")
package runbooks

import (
	"embed"
	"slices"
	"strings"
)

//go:embed *.md
var texts embed.FS

// Codes are the states that an alert may tell of, sorted.
func Codes() []string {
	return slices.DeleteFunc(Names(), func(name string) bool { return slices.Contains(Procedures(), name) })
}

// Procedures are the runbooks that stand for no state, sorted.
func Procedures() []string {
	return []string{"extend-device-pool", "extend-loop-pool", "move-pool-directory", "reboot", "replace-lvm-thin"}
}

// Names are all runbooks, sorted.
func Names() []string {
	entries, err := texts.ReadDir(".")
	if err != nil {
		panic(err) // what was built in cannot be missing
	}
	var names []string
	for _, entry := range entries {
		names = append(names, strings.TrimSuffix(entry.Name(), ".md"))
	}
	return names
}

// Text is the runbook of a code or a procedure; false where there is none.
func Text(name string) (string, bool) {
	text, err := texts.ReadFile(name + ".md")
	return string(text), err == nil
}

// Title is the heading of a runbook; "" where there is none.
func Title(name string) string {
	text, _ := Text(name)
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimPrefix(line, "# ")
}

// Sentence is the first of a runbook: what is the matter; "" where there is
// none.
func Sentence(name string) string {
	text, _ := Text(name)
	_, symptom, _ := strings.Cut(text, "\n## Symptom\n")
	paragraph, _, _ := strings.Cut(strings.TrimSpace(symptom), "\n\n")
	line := strings.Join(strings.Fields(paragraph), " ")
	if sentence, _, more := strings.Cut(line, ". "); more {
		return sentence + "."
	}
	return line
}

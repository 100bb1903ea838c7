// Package runbooks embeds the runbooks: one for each state of a pool that an
// alert reports, and one for each procedure that an operator plans.
//
// # Words
//
// A code names a state and never changes: alerts, the daemon and
// `thinctl explain` print it. A procedure has a name too, but no alert refers to
// it. Every runbook has the same sections: Symptom, Check, Act and Verify.
//
// # Caveats
//
// A drill (tests/drills) causes the fault that a runbook is for and runs the
// runbook's commands. The format of the code blocks is therefore strict: see
// [Commands].
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

// Codes returns the states that an alert can report, sorted.
func Codes() []string {
	return slices.DeleteFunc(Names(), func(name string) bool { return slices.Contains(Procedures(), name) })
}

// Procedures returns the names of the runbooks for planned work, sorted.
func Procedures() []string {
	return []string{"extend-device-pool", "extend-loop-pool", "move-pool-directory", "reboot", "replace-lvm-thin"}
}

// Names returns the names of all runbooks, sorted.
func Names() []string {
	entries, err := texts.ReadDir(".")
	if err != nil {
		panic(err) // the texts are embedded in the program
	}
	var names []string
	for _, entry := range entries {
		names = append(names, strings.TrimSuffix(entry.Name(), ".md"))
	}
	return names
}

// Text returns the runbook of a code or a procedure, and false if there is none.
func Text(name string) (string, bool) {
	text, err := texts.ReadFile(name + ".md")
	return string(text), err == nil
}

// Title returns the heading of a runbook, or "" if there is no such runbook.
func Title(name string) string {
	text, _ := Text(name)
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimPrefix(line, "# ")
}

// Sentence returns the first sentence of a runbook, which describes the fault,
// or "" if there is no such runbook.
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

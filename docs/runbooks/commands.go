package runbooks

import (
	"fmt"
	"slices"
	"strings"
)

// Sections are those that each runbook has, in their order.
func Sections() []string { return []string{"Symptom", "Check", "Act", "Verify"} }

// Step is one command of a runbook, as it is pasted.
type Step struct {
	Section string
	// Case is the heading below Act that the command stands under: it is only for
	// those whom the heading is true for. "" is for all.
	Case    string
	Line    int
	Command string
	// Want is what has to be seen; see [Step.Matches].
	Want []string
	// Code is the exit status that the next command, `echo $?`, has below it. It is
	// 0 where nothing is said.
	Code string
}

// Commands returns a runbook's commands in their order. They stand in blocks
// marked `console`, one to a line, after "# ", the prompt of root's shell. What
// follows a command up to the next is what has to be seen.
func Commands(text string) ([]Step, error) {
	p := parser{}
	for i, line := range strings.Split(text, "\n") {
		p.number = i + 1
		if err := p.take(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", p.number, err)
		}
	}
	if p.fence != "" {
		return nil, fmt.Errorf("a block marked %s has no end", p.fence)
	}
	return p.steps, nil
}

type parser struct {
	number  int
	section string
	heading string
	fence   string // what the block is marked with; "" outside
	first   bool   // no command of the block was read yet
	steps   []Step
}

func (p *parser) take(line string) error {
	switch {
	case strings.HasPrefix(line, "```"):
		return p.mark(strings.TrimPrefix(line, "```"))
	case p.fence == "console":
		return p.console(line)
	case p.fence != "":
	case strings.HasPrefix(line, "## "):
		p.section, p.heading = strings.TrimPrefix(line, "## "), ""
	case strings.HasPrefix(line, "### "):
		p.heading = strings.TrimPrefix(line, "### ")
	}
	return nil
}

func (p *parser) mark(kind string) error {
	switch {
	case p.fence != "" && kind == "":
		p.fence = ""
	case p.fence != "":
		return fmt.Errorf("a block within a block marked %s", p.fence)
	case kind == "console" && !slices.Contains(Sections()[1:], p.section):
		return fmt.Errorf("commands in the section %q, where nobody looks for them", p.section)
	case kind == "console", kind == "toml":
		p.fence, p.first = kind, true
	default:
		return fmt.Errorf("a block marked %q: use console for commands, toml for settings", kind)
	}
	return nil
}

func (p *parser) console(line string) error {
	command, is := strings.CutPrefix(line, "# ")
	if is {
		p.steps = append(p.steps, Step{Section: p.section, Case: p.heading, Line: p.number, Command: command, Code: "0"})
		p.first = false
		return nil
	}
	if p.first {
		return fmt.Errorf("%q stands before any command", line)
	}
	last := &p.steps[len(p.steps)-1]
	last.Want = append(last.Want, line)
	if n := len(p.steps); last.Command == "echo $?" && n > 1 {
		p.steps[n-2].Code = line
	}
	return nil
}

// Matches compares what the command has written with what has to be seen, if
// anything has to. A line `...` stands for any lines or none, `...` in a line for
// anything, and blanks are only that there are some.
func (s Step) Matches(output string) error {
	if s.Want == nil || matchLines(s.Want, lines(output)) {
		return nil
	}
	return fmt.Errorf("`%s` (line %d) has to show\n%s\nand shows\n%s", s.Command, s.Line, strings.Join(s.Want, "\n"), output)
}

func lines(output string) []string {
	output = strings.TrimRight(output, "\n")
	if output == "" {
		return nil
	}
	return strings.Split(output, "\n")
}

func matchLines(want, got []string) bool {
	switch {
	case len(want) == 0:
		return len(got) == 0
	case strings.TrimSpace(want[0]) == "...":
		return matchLines(want[1:], got) || len(got) > 0 && matchLines(want, got[1:])
	}
	return len(got) > 0 && matchLine(want[0], got[0]) && matchLines(want[1:], got[1:])
}

// matchLine finds the parts between `...` one after the other, the first at the
// beginning and the last at the end.
func matchLine(want, got string) bool {
	want, got = folded(want), folded(got)
	parts := strings.Split(want, "...")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return want == got
	}
	if !strings.HasPrefix(got, first) {
		return false
	}
	got = got[len(first):]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(got, part)
		if at < 0 {
			return false
		}
		got = got[at+len(part):]
	}
	return strings.HasSuffix(got, last)
}

func folded(line string) string { return strings.Join(strings.Fields(line), " ") }

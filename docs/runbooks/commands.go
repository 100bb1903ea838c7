package runbooks

import (
	"fmt"
	"slices"
	"strings"
)

// Sections returns the sections that each runbook has, in their order.
func Sections() []string { return []string{"Symptom", "Check", "Act", "Verify"} }

// Step is one command of a runbook.
type Step struct {
	Section string
	// Case is the heading below Act that the command belongs to. The command applies
	// only if the heading is true; with "" it always applies.
	Case    string
	Line    int
	Command string
	// Want is the expected output; see [Step.Matches].
	Want []string
	// Code is the expected exit status: the output of the next command if that is
	// `echo $?`, else 0.
	Code string
}

// Commands parses a runbook and returns its commands in their order. Commands are
// in blocks marked `console`, one to a line, after "# ", the prompt of root's
// shell. The lines between a command and the next are its expected output.
func Commands(text string) ([]Step, error) {
	p := parser{}
	for i, line := range strings.Split(text, "\n") {
		p.number = i + 1
		if err := p.take(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", p.number, err)
		}
	}
	if p.fence != "" {
		return nil, fmt.Errorf("a block marked %s is not closed", p.fence)
	}
	return p.steps, nil
}

type parser struct {
	number  int
	section string
	heading string
	fence   string // the mark of the present block; "" outside of blocks
	first   bool   // no command of the block has been read yet
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
		return fmt.Errorf("a block starts within a block marked %s", p.fence)
	case kind == "console" && !slices.Contains(Sections()[1:], p.section):
		return fmt.Errorf("commands in section %q, which may have none", p.section)
	case kind == "console", kind == "toml":
		p.fence, p.first = kind, true
	default:
		return fmt.Errorf("unknown mark %q of a block: use console for commands, toml for settings", kind)
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
		return fmt.Errorf("output %q before any command", line)
	}
	last := &p.steps[len(p.steps)-1]
	last.Want = append(last.Want, line)
	if n := len(p.steps); last.Command == "echo $?" && n > 1 {
		p.steps[n-2].Code = line
	}
	return nil
}

// Matches compares the output of the command with the expected output. Without
// expected output every output matches. A line `...` matches any number of lines,
// `...` within a line any text, and a blank any number of blanks.
func (s Step) Matches(output string) error {
	if s.Want == nil || matchLines(s.Want, lines(output)) {
		return nil
	}
	return fmt.Errorf("`%s` (line %d): got output\n%s\nwant\n%s", s.Command, s.Line, output, strings.Join(s.Want, "\n"))
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

// matchLine reports whether the line has the parts between `...` in their order,
// the first at its beginning and the last at its end.
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

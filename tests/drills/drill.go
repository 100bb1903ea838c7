package drills

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"thinctl/docs/runbooks"
)

// Drill is how a runbook is followed for a present fault.
type Drill struct {
	Runbook string
	Vars    map[string]string
	// Read are variables that an operator fills with output of commands. It is an error if
	// no command has printed their values.
	Read map[string]string
	// Cases are the headings below Act that apply to the fault.
	Cases []string
	// Last is the command that ends the drill; After is the one that it begins after.
	Last, After string
}

// NeedsDaemon reports whether a case needs the daemon as a service of systemd. The drills'
// guest has no systemd: tests/oncall runs these commands.
func NeedsDaemon(runbook, heading string) bool {
	return runbook == "at-maximum" && strings.HasPrefix(heading, "The maximum ")
}

// patience is the time within which Verify must hold.
const patience = 30 * time.Second

// Follow runs the runbook's commands in their order. It returns the lines of those that
// were run.
func (d Drill) Follow(ctx context.Context, logf func(string, ...any)) (lines []int, err error) {
	text, known := runbooks.Text(d.Runbook)
	if !known {
		return nil, fmt.Errorf("there is no runbook %s", d.Runbook)
	}
	steps, err := d.steps(text)
	if err != nil {
		return nil, fmt.Errorf("%s.md: %w", d.Runbook, err)
	}
	vars := maps.Clone(d.Vars)
	if vars == nil {
		vars = map[string]string{}
	}
	maps.Copy(vars, d.Read)
	shell, err := NewShell(ctx, vars)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, shell.Close()) }()
	f := follower{Drill: d, shell: shell, logf: logf}
	verify := len(steps)
	for i, step := range steps {
		if step.Section == "Verify" {
			verify = i
			break
		}
		if err := f.paste(step); err != nil {
			return nil, err
		}
	}
	if err := f.verify(ctx, steps[verify:]); err != nil {
		return nil, err
	}
	for _, step := range steps {
		lines = append(lines, step.Line)
	}
	return lines, nil
}

// steps returns the steps that apply to the fault.
func (d Drill) steps(text string) ([]runbooks.Step, error) {
	all, err := runbooks.Commands(text)
	if err != nil {
		return nil, err
	}
	for _, heading := range d.Cases {
		if !slices.ContainsFunc(all, func(s runbooks.Step) bool { return s.Case == heading }) {
			return nil, fmt.Errorf("no commands stand below %q", heading)
		}
	}
	var steps []runbooks.Step
	begun, ended := d.After == "", false
	for _, step := range all {
		if begun && !ended && (step.Case == "" || slices.Contains(d.Cases, step.Case)) {
			steps = append(steps, step)
		}
		begun = begun || step.Command == d.After
		ended = ended || d.Last != "" && step.Command == d.Last
	}
	if !begun || d.Last != "" && !ended {
		return nil, fmt.Errorf("it has no command %q or %q", d.After, d.Last)
	}
	return steps, nil
}

type follower struct {
	Drill
	shell *Shell
	logf  func(string, ...any)
	shown strings.Builder // all output so far
}

func (f *follower) paste(step runbooks.Step) error {
	for name, value := range f.Read {
		if uses(step.Command, name) && !strings.Contains(f.shown.String(), value) {
			return fmt.Errorf("%s.md:%d: nothing has shown %s, which is %s, before `%s`", f.Runbook, step.Line, name, value,
				step.Command)
		}
	}
	began := time.Now()
	output, code, err := f.shell.Run(step.Command)
	f.shown.WriteString(output)
	f.logf("# %s   (%s, line %d, %.1f s)\n%s", step.Command, step.Section, step.Line, time.Since(began).Seconds(), output)
	if err != nil {
		return fmt.Errorf("%s.md:%d: `%s`: %w", f.Runbook, step.Line, step.Command, err)
	}
	if strconv.Itoa(code) != step.Code {
		return fmt.Errorf("%s.md:%d: `%s` has to end with %s, and ends with %d:\n%s", f.Runbook, step.Line, step.Command,
			step.Code, code, output)
	}
	if err := step.Matches(output); err != nil {
		return fmt.Errorf("%s.md: %w", f.Runbook, err)
	}
	return nil
}

// uses reports whether the command uses that variable.
func uses(command, name string) bool {
	return strings.Contains(command, "$"+name) || strings.Contains(command, "${"+name)
}

// verify repeats Verify until all of it holds in one pass.
func (f *follower) verify(ctx context.Context, steps []runbooks.Step) error {
	deadline := time.Now().Add(patience)
	for {
		fault := f.all(steps)
		if fault == nil || time.Now().After(deadline) {
			return fault
		}
		f.logf("not yet: %v", fault)
		select {
		case <-ctx.Done():
			return errors.Join(fault, ctx.Err())
		case <-time.After(time.Second):
		}
	}
}

func (f *follower) all(steps []runbooks.Step) error {
	for _, step := range steps {
		if err := f.paste(step); err != nil {
			return err
		}
	}
	return nil
}

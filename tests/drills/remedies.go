package drills

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var quoted = regexp.MustCompile("`([^`]+)`")

// Remedies returns the commands in backquotes of what a command has printed, in
// their order, each once.
func Remedies(printed string) []string {
	var commands []string
	for _, match := range quoted.FindAllStringSubmatch(printed, -1) {
		if !slices.Contains(commands, match[1]) {
			commands = append(commands, match[1])
		}
	}
	return commands
}

// Outcome is where remedies have led.
type Outcome string

// The outcomes.
const (
	Sound Outcome = "sound" // the check finds nothing
	Lost  Outcome = "lost"  // a message names what is lost and what is kept
)

// mostSteps bounds how many commands an operator has to run.
const mostSteps = 12

// FollowRemedies runs the command first, and then the commands in each message that
// follows, until check ends with 0 or a message names what is lost and what is kept. A
// circle, a message without commands, and too many steps are errors. It also returns the
// commands that were run.
func FollowRemedies(run func(command string) (printed string, code int), first, check string) (
	Outcome, []string, error) {
	f := following{run: run, said: map[string]bool{}}
	commands := []string{first}
	for {
		next, outcome, err := f.follow(append(commands, check))
		if err != nil || outcome != "" {
			return outcome, f.ran, err
		}
		commands = next
	}
}

type following struct {
	run  func(string) (string, int)
	ran  []string
	said map[string]bool // messages that have been followed
}

// follow runs commands in their order up to the first that fails, and returns the
// commands in its message. The last of them is the check.
func (f *following) follow(commands []string) (next []string, outcome Outcome, err error) {
	for i, command := range commands {
		if len(f.ran) == mostSteps {
			return nil, "", fmt.Errorf("%d commands have not led out", mostSteps)
		}
		printed, code := f.run(command)
		f.ran = append(f.ran, fmt.Sprintf("%s\n(%d) %s", command, code, strings.TrimSpace(printed)))
		if code == 0 {
			if i == len(commands)-1 {
				return nil, Sound, nil
			}
			continue
		}
		next := slices.DeleteFunc(Remedies(printed), func(command string) bool {
			return strings.HasSuffix(command, " --dry-run") || strings.HasPrefix(command, "thinctl pool destroy ")
		})
		states := strings.Contains(printed, "lost") && strings.Contains(printed, "kept")
		switch {
		case len(next) == 0 && states:
			return nil, Lost, nil
		case len(next) == 0:
			return nil, "", fmt.Errorf("`%s` fails without a command to go on with: %s", command, printed)
		case f.said[printed]:
			return nil, "", fmt.Errorf("a circle: `%s` prints again: %s", command, printed)
		}
		f.said[printed] = true
		return next, "", nil
	}
	return nil, "", nil
}

// Package commandline works around the parser of urfave/cli/v2, which stops looking for flags at the first argument and
// would destroy on `thinctl pool destroy p1 --dry-run`. Parse sorts the words of a command line, flags first, before
// that library sees them. Prepare turns off that library's help command, which would shadow arguments. StringsFlag is a
// flag whose values may have commas.
package commandline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/exit"
	"thinctl/internal/nearest"
)

// AsksVersion reports whether --version was given.
func (l Line) AsksVersion() bool {
	for _, word := range l.Globals {
		if word == "--version" {
			return true
		}
	}
	return false
}

// ParseUnfinished parses an unfinished command line and ignores its faults.
func ParseUnfinished(root *cli.App, words []string) Line {
	s := scan{root: root, Line: Line{Command: &cli.Command{Subcommands: root.Commands}}}
	for _, word := range words {
		_ = s.take(word)
	}
	s.Args = slices.DeleteFunc(s.Args, func(arg string) bool { return strings.HasPrefix(arg, "-") })
	return s.Line
}

// Line is a parsed command line. Flags of a command may come before or after its arguments, global
// flags anywhere.
type Line struct {
	Path    []string // the commands' names
	Command *cli.Command
	Globals []string // --name or --name=value
	Locals  []string
	Args    []string
	Help    bool
	// Open is the flag whose value is missing at the end of the line.
	Open cli.Flag
}

// Words returns the line in the order that urfave/cli accepts: flags, then "--", then arguments.
func (l Line) Words() []string {
	words := slices.Concat([]string{"thinctl"}, l.Globals, l.Path)
	if l.Help {
		return append(words, "--help")
	}
	words = append(words, l.Locals...)
	if len(l.Args) > 0 {
		words = append(append(words, "--"), l.Args...)
	}
	return words
}

// Parse parses a command line. It rejects a word that begins with "-" and is not a flag of the
// command. After "--" all words are arguments.
func Parse(root *cli.App, words []string) (Line, error) {
	s := scan{root: root, Line: Line{Command: &cli.Command{Name: root.Name, Subcommands: root.Commands}}}
	for i, word := range words {
		if s.Open == nil && word == "--" {
			for _, rest := range words[i+1:] {
				if err := s.argument(rest); err != nil {
					return s.Line, err
				}
			}
			return s.Line, nil
		}
		if err := s.take(word); err != nil {
			return s.Line, err
		}
	}
	if s.Open != nil {
		return s.Line, s.usage("flag %s needs a value", s.openAs)
	}
	return s.Line, nil
}

type scan struct {
	Line
	root   *cli.App
	openAs string // the open flag as typed
}

func (s *scan) take(word string) error {
	isFlag := len(word) > 1 && word[0] == '-'
	switch {
	case s.Open != nil && isFlag:
		return s.usage("flag %s needs a value: write %s=%s if %s is the value", s.openAs, s.openAs, word, word)
	case s.Open != nil:
		s.put(s.Open, word, true)
		s.Open = nil
		return nil
	case isFlag:
		return s.flag(word)
	}
	return s.argument(word)
}

func (s *scan) flag(word string) error {
	name, value, hasValue := strings.Cut(strings.TrimPrefix(word[1:], "-"), "=")
	if name == "help" || name == "h" {
		s.Help = true
		return nil
	}
	flag := s.find(name)
	if flag == nil {
		return s.unknown("unknown flag "+strings.SplitN(word, "=", 2)[0], "--"+nearest.Of(name, s.flagNames()))
	}
	takesValue := flag.(cli.DocGenerationFlag).TakesValue()
	if takesValue && !hasValue {
		s.Open, s.openAs = flag, word
		return nil
	}
	s.put(flag, value, hasValue)
	return nil
}

func (s *scan) find(name string) cli.Flag {
	for _, flag := range slices.Concat(s.root.Flags, s.Command.Flags) {
		if slices.Contains(flag.Names(), name) {
			return flag
		}
	}
	return nil
}

// unknown returns the error for a word that the command does not have. near is the suggestion; ""
// and "--" mean none.
func (s *scan) unknown(why, near string) error {
	err := s.usage("%s", why)
	if strings.Trim(near, "-") != "" {
		err.Remedy = fmt.Sprintf("did you mean %s?", near)
	}
	return err
}

func (s *scan) flagNames() []string {
	var names []string
	for _, flag := range slices.Concat(s.Command.Flags, s.root.Flags) {
		for _, name := range flag.Names() {
			if len(name) > 1 {
				names = append(names, name)
			}
		}
	}
	return names
}

func (s *scan) commandNames() []string {
	var names []string
	for _, command := range s.Command.Subcommands {
		if !command.Hidden {
			names = append(names, command.Names()...)
		}
	}
	return names
}

func (s *scan) put(flag cli.Flag, value string, hasValue bool) {
	word := "--" + flag.Names()[0]
	if hasValue {
		word += "=" + value
	}
	if slices.Contains(s.root.Flags, flag) {
		s.Globals = append(s.Globals, word)
	} else {
		s.Locals = append(s.Locals, word)
	}
}

// argument takes the name of a command, or an argument once the command is complete.
func (s *scan) argument(word string) error {
	if len(s.Command.Subcommands) == 0 {
		s.Args = append(s.Args, word)
		return nil
	}
	if word == "help" && len(s.Path) == 0 {
		s.Help = true
		return nil
	}
	command := s.Command.Command(word)
	if command == nil {
		return s.unknown(fmt.Sprintf("unknown command %q", word), nearest.Of(word, s.commandNames()))
	}
	s.Command = command
	s.Path = append(s.Path, command.Name)
	return nil
}

func (s *scan) usage(format string, args ...any) *exit.UsageError {
	where := strings.Join(s.Path, " ")
	why := fmt.Sprintf(format, args...)
	if where != "" {
		why = where + ": " + why
	}
	return &exit.UsageError{Why: why, Remedy: HelpHint(s.Path)}
}

// HelpHint returns the hint that names the help of a command.
func HelpHint(path []string) string {
	return "see `" + strings.Join(append(append([]string{"thinctl"}, path...), "--help"), " ") + "`"
}

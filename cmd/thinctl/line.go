package main

import (
	"fmt"
	"slices"
	"strings"

	"thinctl/internal/nearest"

	"github.com/urfave/cli/v2"
)

// line is a command line taken apart. Flags may stand before or after
// arguments; those of the whole program, anywhere.
type line struct {
	path    []string // the commands' names
	command *cli.Command
	globals []string // --name or --name=value
	locals  []string
	args    []string
	help    bool
	// open is the flag that still wants its value, where the words ended.
	open cli.Flag
}

// words puts the line together as urfave/cli takes it: flags first, and then
// arguments, kept apart by "--".
func (l line) words() []string {
	words := slices.Concat([]string{"thinctl"}, l.globals, l.path)
	if l.help {
		return append(words, "--help")
	}
	words = append(words, l.locals...)
	if len(l.args) > 0 {
		words = append(append(words, "--"), l.args...)
	}
	return words
}

// arrange takes a command line apart. It fails on whatever begins with "-" and
// is no flag of the command; after "--" all words are arguments.
func arrange(root *cli.App, words []string) (line, error) {
	s := scan{root: root, line: line{command: &cli.Command{Name: root.Name, Subcommands: root.Commands}}}
	for i, word := range words {
		if s.open == nil && word == "--" {
			for _, rest := range words[i+1:] {
				if err := s.argument(rest); err != nil {
					return s.line, err
				}
			}
			return s.line, nil
		}
		if err := s.take(word); err != nil {
			return s.line, err
		}
	}
	if s.open != nil {
		return s.line, s.usage("flag %s needs a value", s.openAs)
	}
	return s.line, nil
}

type scan struct {
	line
	root   *cli.App
	openAs string // the open flag as it was written
}

func (s *scan) take(word string) error {
	isFlag := len(word) > 1 && word[0] == '-'
	switch {
	case s.open != nil && isFlag:
		return s.usage("flag %s needs a value, not %s: write %s=%s if that is the value", s.openAs, word, s.openAs, word)
	case s.open != nil:
		s.put(s.open, word, true)
		s.open = nil
		return nil
	case isFlag:
		return s.flag(word)
	}
	return s.argument(word)
}

func (s *scan) flag(word string) error {
	name, value, hasValue := strings.Cut(strings.TrimPrefix(word[1:], "-"), "=")
	if name == "help" || name == "h" {
		s.help = true
		return nil
	}
	flag := s.find(name)
	if flag == nil {
		return s.unknown("no flag "+strings.SplitN(word, "=", 2)[0], "--"+nearest.Of(name, s.flagNames()))
	}
	takesValue := flag.(cli.DocGenerationFlag).TakesValue()
	if takesValue && !hasValue {
		s.open, s.openAs = flag, word
		return nil
	}
	s.put(flag, value, hasValue)
	return nil
}

func (s *scan) find(name string) cli.Flag {
	for _, flag := range slices.Concat(s.root.Flags, s.command.Flags) {
		if slices.Contains(flag.Names(), name) {
			return flag
		}
	}
	return nil
}

// unknown is the error of a word that the command does not have. near is the word that
// may be meant; "" and "--" for none.
func (s *scan) unknown(why, near string) error {
	err := s.usage("%s", why)
	if strings.Trim(near, "-") != "" {
		err.remedy = fmt.Sprintf("did you mean %s?", near)
	}
	return err
}

func (s *scan) flagNames() []string {
	var names []string
	for _, flag := range slices.Concat(s.command.Flags, s.root.Flags) {
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
	for _, command := range s.command.Subcommands {
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
		s.globals = append(s.globals, word)
	} else {
		s.locals = append(s.locals, word)
	}
}

// argument takes a command's name as long as one is to come.
func (s *scan) argument(word string) error {
	if len(s.command.Subcommands) == 0 {
		s.args = append(s.args, word)
		return nil
	}
	if word == "help" && len(s.path) == 0 {
		s.help = true
		return nil
	}
	command := s.command.Command(word)
	if command == nil {
		return s.unknown(fmt.Sprintf("no command %q", word), nearest.Of(word, s.commandNames()))
	}
	s.command = command
	s.path = append(s.path, command.Name)
	return nil
}

func (s *scan) usage(format string, args ...any) *usageError {
	where := strings.Join(s.path, " ")
	why := fmt.Sprintf(format, args...)
	if where != "" {
		why = where + ": " + why
	}
	return &usageError{why: why, remedy: helpHint(s.path)}
}

func helpHint(path []string) string {
	return "see `" + strings.Join(append(append([]string{"thinctl"}, path...), "--help"), " ") + "`"
}

package main

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"
)

// rule is a set of words, and the words to write instead.
type rule struct {
	pattern *regexp.Regexp
	instead string
	advice  bool // it does not fail the check
}

// readRules parses a file of the format of words.txt.
func readRules(name string) ([]rule, error) {
	var rules []rule
	err := eachLine(name, func(line string) error {
		line, advice := strings.CutPrefix(line, "?")
		forms, instead, found := strings.Cut(line, ":")
		if !found || strings.TrimSpace(instead) == "" {
			return fmt.Errorf("want FORM, FORM: INSTEAD")
		}
		pattern, err := wordPattern(strings.Split(forms, ","))
		if err != nil {
			return err
		}
		rules = append(rules, rule{pattern: pattern, instead: strings.TrimSpace(instead), advice: advice})
		return nil
	})
	return rules, err
}

// wordPattern matches one of the forms where it is a word of a sentence, and not a part
// of a path, an option or an identifier.
func wordPattern(forms []string) (*regexp.Regexp, error) {
	var alternatives []string
	for _, form := range forms {
		words := strings.Fields(form)
		if len(words) == 0 {
			return nil, fmt.Errorf("a form is empty")
		}
		for i, word := range words {
			words[i] = regexp.QuoteMeta(word)
		}
		alternatives = append(alternatives, strings.Join(words, `\s+`))
	}
	return regexp.Compile(`(?i)(?:^|[^\w./-])(` + strings.Join(alternatives, "|") + `)(?:$|[^\w/-])`)
}

// exception is a finding that is right as it is.
type exception struct {
	line   int
	files  string // a path, or a pattern as in [path.Match]
	word   string
	reason string
	used   bool
}

// readExceptions parses a file of the format of allow.txt.
func readExceptions(name string) ([]*exception, error) {
	var all []*exception
	number := 0
	err := eachNumberedLine(name, func(n int, line string) error {
		number = n
		parts := strings.SplitN(line, ":", 3)
		if len(parts) < 3 || strings.TrimSpace(parts[2]) == "" {
			return fmt.Errorf("want FILES: WORD: REASON")
		}
		e := &exception{line: number, files: strings.TrimSpace(parts[0]), word: strings.TrimSpace(parts[1]),
			reason: strings.TrimSpace(parts[2])}
		if _, err := path.Match(e.files, ""); err != nil {
			return err
		}
		all = append(all, e)
		return nil
	})
	return all, err
}

// allows reports whether the exception is for that word in that file.
func (e *exception) allows(file, word string) bool {
	if !strings.EqualFold(e.word, word) {
		return false
	}
	matched, _ := path.Match(e.files, file)
	return matched
}

func eachLine(name string, do func(line string) error) error {
	return eachNumberedLine(name, func(_ int, line string) error { return do(line) })
}

// eachNumberedLine calls do for each line of the file that is neither empty nor a comment.
func eachNumberedLine(name string, do func(number int, line string) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := do(number, line); err != nil {
			return fmt.Errorf("%s:%d: %w", name, number, err)
		}
	}
	return lines.Err()
}

package runbooks

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// composed returns quotations that no string of the program contains as a whole: it puts
// them together, or another program prints them.
func composed() []string {
	return []string{
		"State: ro", "State: ro, needs check", "Needs Check: yes", // thinctl pool status
		"Data Space Available", "Data Space Used", // the same
		"Metadata Space Available", "Metadata Space Used", "Metadata Space Total", // the same
		"extend pool", "open pool", // operation and object of an error
		"potential data loss", "Remounting filesystem read-only", "Shutting down filesystem", // the kernel's log
		"df", "findmnt --fstab", "findmnt --target", "T", // df, findmnt, ps
	}
}

// A runbook that begins an item with a quoted message quotes a message of the program.
func TestQuotedMessagesExist(t *testing.T) {
	known := strings.Join(literals(t), "\n")
	item := regexp.MustCompile("(?m)^(?:- )?(`[^`]+`(?:,? (?:or|and) `[^`]+`|, `[^`]+`)*)(?: \\([^)]*\\))?(?:, as above| (?:instead of|is|lists|shows) [^:\\n]*)?:")
	quotation := regexp.MustCompile("`([^`]+)`")
	checked := 0
	for _, name := range Names() {
		text, _ := Text(name)
		for _, match := range item.FindAllStringSubmatch(text, -1) {
			for _, quoted := range quotation.FindAllStringSubmatch(match[1], -1) {
				message := strings.Join(strings.Fields(quoted[1]), " ")
				if slices.Contains(composed(), message) {
					continue
				}
				checked++
				if !strings.Contains(known, message) {
					t.Errorf("%s: got the message %q, which no string of the program contains", name, message)
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("got %d quoted messages, want at least 20", checked)
	}
}

// literals returns the strings of the program's Go files.
func literals(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && len(entry.Name()) > 2 || entry.Name() == "tests" || entry.Name() == "testkit"):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var s scanner.Scanner
		s.Init(token.NewFileSet().AddFile(path, -1, len(content)), content, nil, 0)
		for {
			_, tok, literal := s.Scan()
			if tok == token.EOF {
				return nil
			}
			if text, err := strconv.Unquote(literal); err == nil && tok == token.STRING {
				all = append(all, text)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The expected output of thinctl's commands consists of texts that the program has. The
// drills compare it with the real output, but need a guest.
func TestExpectedOutputExists(t *testing.T) {
	all := literals(t)
	known := folded(strings.Join(all, "\n"))
	checked := 0
	for _, name := range Names() {
		text, _ := Text(name)
		steps, err := Commands(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range steps {
			if !strings.HasPrefix(step.Command, "thinctl ") {
				continue
			}
			for _, line := range step.Want {
				for _, part := range fixedParts(line) {
					checked++
					whole := strings.Trim(part, ":") // before a colon that the program adds
					if !strings.Contains(known, part) && !slices.Contains(all, whole) && !slices.Contains(composed(), whole) {
						t.Errorf("%s:%d: got %q in the expected output, which no string of the program contains", name, step.Line, part)
					}
				}
			}
		}
	}
	if checked < 100 {
		t.Errorf("got %d parts of expected output, want at least 100", checked)
	}
}

var (
	column   = regexp.MustCompile(`:?\s{2,}`) // between columns, and after the name of a fact
	variable = regexp.MustCompile(`\.\.\.|\S*\d\S*|\S*/\S*`)
	word     = regexp.MustCompile(`[A-Za-z]{3}`)
)

// fixedParts returns the parts of a line that do not depend on the pool.
func fixedParts(line string) []string {
	var parts []string
	for _, cell := range column.Split(line, -1) {
		for _, part := range variable.Split(cell, -1) {
			for part := range strings.SplitAfterSeq(part, ": ") {
				if part = strings.TrimSpace(part); word.MatchString(part) {
					parts = append(parts, part)
				}
			}
		}
	}
	return parts
}

package main

import (
	"go/scanner"
	"go/token"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// passage is a text of a file that is read as prose.
type passage struct {
	line     int // of the file, at which it begins
	text     string
	oneLine  bool // line breaks in the text are none of the file
	sentence bool // it consists of sentences: a comment or a paragraph of a document
}

// lineAt returns the line of the file at an offset in the text.
func (p passage) lineAt(offset int) int {
	if p.oneLine {
		return p.line
	}
	return p.line + strings.Count(p.text[:offset], "\n")
}

// passages returns the texts of a file, by the kind of the file.
func passages(name string, content []byte) []passage {
	switch path.Ext(name) {
	case ".go":
		return goPassages(content)
	case ".md":
		return markdownPassages(string(content))
	}
	return []passage{{line: 1, text: string(content)}}
}

// goPassages returns the comments and the strings of a Go file.
func goPassages(content []byte) []passage {
	files := token.NewFileSet()
	file := files.AddFile("", files.Base(), len(content))
	var s scanner.Scanner
	s.Init(file, content, nil, scanner.ScanComments)
	var all []passage
	commentEnd := -1 // the line of the last comment, which the next line may continue
	for {
		pos, tok, literal := s.Scan()
		line := file.Line(pos)
		switch tok {
		case token.EOF:
			return all
		case token.COMMENT:
			text := commentText(literal)
			if commentEnd == line-1 && strings.HasPrefix(literal, "//") {
				all[len(all)-1].text += "\n" + text
			} else {
				all = append(all, passage{line: line, text: text, sentence: true})
			}
			commentEnd = line + strings.Count(literal, "\n")
		case token.STRING:
			commentEnd = -1
			if p, isProse := stringPassage(line, literal); isProse {
				all = append(all, p)
			}
		}
	}
}

var (
	directive = regexp.MustCompile(`^//(go:|nolint|line |export )`)
	structTag = regexp.MustCompile("^`\\w+:\"")
	inline    = regexp.MustCompile("`[^`]*`")
)

// commentText returns the prose of a comment, without markers, code and directives.
func commentText(literal string) string {
	if directive.MatchString(literal) {
		return ""
	}
	if body, isLine := strings.CutPrefix(literal, "//"); isLine {
		if strings.HasPrefix(body, "\t") || strings.HasPrefix(body, "  ") {
			return "" // code
		}
		return withoutCode(body)
	}
	return withoutCode(strings.TrimSuffix(strings.TrimPrefix(literal, "/*"), "*/"))
}

func stringPassage(line int, literal string) (passage, bool) {
	if structTag.MatchString(literal) {
		return passage{}, false
	}
	text, err := strconv.Unquote(literal)
	if err != nil {
		return passage{}, false
	}
	return passage{line: line, text: text, oneLine: literal[0] == '"'}, true
}

// markdownPassages returns the paragraphs of a document, with blank lines in place of
// its code.
func markdownPassages(text string) []passage {
	lines := strings.Split(text, "\n")
	fenced := false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence || fenced || strings.HasPrefix(line, "    ") {
			lines[i] = ""
		}
		fenced = fenced != fence
	}
	return []passage{{line: 1, text: withoutCode(strings.Join(lines, "\n")), sentence: true}}
}

// withoutCode replaces code in backquotes by a word of the same length. A line break
// in it stays.
func withoutCode(text string) string {
	return inline.ReplaceAllStringFunc(text, func(code string) string {
		return strings.Map(func(r rune) rune {
			if r == '\n' {
				return r
			}
			return '_'
		}, code)
	})
}

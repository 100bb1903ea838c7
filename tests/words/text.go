package main

import (
	"go/ast"
	"go/parser"
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
	name     bool // it is a name that the file declares, split into words
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
		return append(goPassages(content), declaredNames(content)...)
	case ".md":
		return markdownPassages(string(content))
	}
	return []passage{{line: 1, text: string(content)}}
}

// fileName returns the words of a file's own name.
func fileName(name string) passage {
	return passage{line: 1, text: strings.NewReplacer("-", " ", "_", " ", ".", " ").Replace(path.Base(name)),
		oneLine: true, name: true}
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

// declaredNames returns the names that a Go file declares, split into words. Names that
// it only uses may be another project's.
func declaredNames(content []byte) []passage {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, "", content, parser.SkipObjectResolution)
	if err != nil {
		return nil // the compiler reports it
	}
	var all []passage
	declare := func(names ...*ast.Ident) {
		for _, name := range names {
			all = append(all, passage{line: files.Position(name.Pos()).Line, text: splitName(name.Name), oneLine: true,
				name: true})
		}
	}
	ast.Inspect(parsed, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.FuncDecl:
			declare(n.Name)
		case *ast.TypeSpec:
			declare(n.Name)
		case *ast.ValueSpec:
			declare(n.Names...)
		case *ast.Field:
			declare(n.Names...)
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				if name, isName := left.(*ast.Ident); isName && n.Tok == token.DEFINE {
					declare(name)
				}
			}
		}
		return true
	})
	return all
}

var wordBreak = regexp.MustCompile(`([a-z0-9])([A-Z])`)

// splitName returns the words of a name in camel case or with underscores.
func splitName(name string) string {
	return strings.ReplaceAll(wordBreak.ReplaceAllString(name, "$1 $2"), "_", " ")
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

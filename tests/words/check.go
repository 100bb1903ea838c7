package main

import (
	"fmt"
	"regexp"
	"strings"
)

// finding is a word that is not written in this repository.
type finding struct {
	file, word, instead string
	line                int
	advice              bool
	name                bool // it is a part of a declared name
}

func (f finding) String() string {
	kind := ""
	if f.advice {
		kind = "advice: "
	}
	if f.name {
		kind += "in a name: "
	}
	return fmt.Sprintf("%s:%d: %s%s: write %q instead", f.file, f.line, kind, f.word, f.instead)
}

var (
	// needsNegation are words that stand only in a sentence with a negation.
	needsNegation = regexp.MustCompile(`(?i)(?:^|[^\w-])(yet|any more|anymore)(?:$|[^\w-])`)
	negation      = regexp.MustCompile(`(?i)\b(?:not|no|never|none|nothing|cannot|without|` +
		`neither|nor|un\w+|in(?:active|complete))\b|n't`)
	// opening is a relative clause at the beginning of a sentence.
	opening     = regexp.MustCompile(`(?:^|[.!?:]\s+|\n\s*\n\s*)((?:Who|Whoever|Whom|Whose|What|Where)\s[^.!?:]*[.!?:]?)`)
	sentenceEnd = regexp.MustCompile(`[.!?;:](?:\s|$)|\n\s*\n`)
)

// check returns the findings in a file, in the order of its lines.
func check(file string, content []byte, rules []rule) []finding {
	var all []finding
	for _, p := range append(passages(file, content), fileName(file)) {
		for _, rule := range rules {
			for _, at := range matches(rule.pattern, p.text) {
				word := strings.Join(strings.Fields(p.text[at[0]:at[1]]), " ")
				all = append(all, finding{file: file, line: p.lineAt(at[0]), word: strings.ToLower(word), instead: rule.instead,
					advice: rule.advice, name: p.name})
			}
		}
		if p.name {
			continue
		}
		for _, at := range matches(needsNegation, p.text) {
			if !negation.MatchString(sentenceAround(p.text, at[0], at[1])) {
				all = append(all, finding{file: file, line: p.lineAt(at[0]), word: strings.ToLower(p.text[at[0]:at[1]]),
					instead: "still, so far, or a negation with it"})
			}
		}
		if !p.sentence {
			if isLibrary(file) {
				all = append(all, commandsIn(file, p)...)
			}
			continue
		}
		for _, at := range matches(opening, p.text) {
			sentence := p.text[at[0]:at[1]]
			if strings.HasSuffix(sentence, "?") || strings.HasPrefix(lineBefore(p.text, at[0]), "#") {
				continue
			}
			word, _, _ := strings.Cut(sentence, " ")
			word, _, _ = strings.Cut(word, "\n")
			all = append(all, finding{file: file, line: p.lineAt(at[0]), word: word + " ...", instead: "the main clause first",
				advice: true})
		}
	}
	return all
}

// matches returns the places of the pattern's first group. Two of them may share the
// blank between them.
func matches(pattern *regexp.Regexp, text string) [][2]int {
	var all [][2]int
	for from := 0; from < len(text); {
		at := pattern.FindStringSubmatchIndex(text[from:])
		if at == nil {
			break
		}
		// A search from the middle of a word would take its rest for a word.
		start, end := from+at[2], from+at[3]
		all = append(all, [2]int{start, end})
		from = end
	}
	return all
}

// sentenceAround returns the sentence in which text[start:end] is.
func sentenceAround(text string, start, end int) string {
	begin := 0
	if ends := sentenceEnd.FindAllStringIndex(text[:start], -1); len(ends) > 0 {
		begin = ends[len(ends)-1][1]
	}
	if stop := sentenceEnd.FindStringIndex(text[end:]); stop != nil {
		end += stop[1]
	} else {
		end = len(text)
	}
	return text[begin:end]
}

// lineBefore returns the beginning of the line up to the offset.
func lineBefore(text string, offset int) string {
	return text[strings.LastIndexByte(text[:offset], '\n')+1 : offset]
}

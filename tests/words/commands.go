package main

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// libraries are the packages for other programs, with the packages below them. Their texts
// have neither commands nor options of thinctl: they report a fault.Cure, and
// internal/remedy has its sentence.
var libraries = []string{"blockdev", "dm", "fault", "loopback", "metrics", "snapshots", "thinpool", "units"}

// command is a command of thinctl, or an option of any program.
var command = regexp.MustCompile("(?:^|[^\\w-])(`thinctl [a-z]+|--[a-z][a-z-]*)")

// isLibrary reports whether a file is a source of a library, and no test.
func isLibrary(file string) bool {
	top, _, _ := strings.Cut(file, "/")
	return path.Ext(file) == ".go" && !strings.HasSuffix(file, "_test.go") && slices.Contains(libraries, top)
}

// commandsIn returns the commands and options in a string of a library.
func commandsIn(file string, p passage) []finding {
	var all []finding
	for _, at := range matches(command, p.text) {
		all = append(all, finding{file: file, line: p.lineAt(at[0]), word: p.text[at[0]:at[1]],
			instead: "a fault.Cure, and its sentence in internal/remedy"})
	}
	return all
}

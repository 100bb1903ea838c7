package program

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrMissing: the program is not installed. Find.
var ErrMissing = errors.New("program not found")

// Program is one that thinctl does not bring along.
type Program struct {
	Name     string
	Packages string // where it comes from, for people
}

// MissingError is an ErrMissing: which program, and how to get it.
type MissingError struct {
	Program Program
	Dirs    []string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not in %s: install %s", e.Program.Name, strings.Join(e.Dirs, ", "), e.Program.Packages)
}

// Is makes a MissingError answer to ErrMissing.
func (e *MissingError) Is(target error) bool { return target == ErrMissing }

// Find returns the program's path in the first of dirs that has it; nil means
// PATH, then the system's folders. Folders that are not absolute are passed
// over: what lies in the current one is not the system's.
func (p Program) Find(dirs []string) (string, error) {
	if dirs == nil {
		dirs = defaultDirs()
	}
	for _, dir := range dirs {
		if !filepath.IsAbs(dir) {
			continue
		}
		path := filepath.Join(dir, p.Name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", &MissingError{Program: p, Dirs: dirs}
}

func defaultDirs() []string {
	var dirs []string
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")),
		"/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin") {
		if filepath.IsAbs(dir) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

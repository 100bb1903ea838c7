package program

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"thinctl/fault"
)

// Program is a program of another package of the system.
type Program struct {
	Name     string
	Packages string // that install it, for messages
}

// MissingError is the error for a program that is not installed. Its kind is
// fault.Unavailable.
type MissingError struct {
	Program Program
	Dirs    []string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not in %s: install %s", e.Program.Name, strings.Join(e.Dirs, ", "), e.Program.Packages)
}

// Unwrap returns the kind.
func (e *MissingError) Unwrap() error { return fault.Unavailable }

// Find returns the path of the program in the first of dirs that has it. If dirs
// is nil it searches PATH, then the system's directories. Find ignores relative
// directories: a program in the current directory is not the system's.
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

package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	o := options{}
	flag.StringVar(&o.tree, "C", "", "check the checkout in this `DIRECTORY` instead of the present one")
	flag.BoolVar(&o.count, "count", false, "print the number of findings in each directory")
	flag.BoolVar(&o.all, "all", false, "print advice too")
	flag.Parse()
	o.below = flag.Args()
	found, err := run(o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "words:", err)
		os.Exit(2)
	}
	if found && !o.count {
		os.Exit(1)
	}
}

type options struct {
	tree       string // "" is the checkout in the present directory
	below      []string
	count, all bool
}

// listDir is the directory of the lists, in the checkout from which the program runs.
const listDir = "tests/words"

// run checks the tracked files. It reports whether a finding fails the check.
func run(o options, w io.Writer) (bool, error) {
	here, err := git("", "rev-parse", "--show-toplevel")
	if err != nil {
		return false, err
	}
	here = strings.TrimSpace(here)
	rules, err := readRules(filepath.Join(here, listDir, "words.txt"))
	if err != nil {
		return false, err
	}
	exceptions, err := readExceptions(filepath.Join(here, listDir, "allow.txt"))
	if err != nil {
		return false, err
	}
	tree := cmp.Or(o.tree, here)
	files, err := tracked(tree, o.below)
	if err != nil {
		return false, err
	}
	var found []finding
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(tree, file))
		if err != nil {
			return false, err
		}
		found = append(found, check(file, content, rules)...)
	}
	found = without(found, exceptions)
	if o.count {
		return failing(found), printCounts(w, files, found)
	}
	slices.SortStableFunc(found, func(a, b finding) int {
		return cmp.Or(strings.Compare(a.file, b.file), cmp.Compare(a.line, b.line))
	})
	for _, f := range found {
		if !f.advice || o.all {
			fmt.Fprintln(w, f)
		}
	}
	fails := failing(found)
	for _, e := range exceptions {
		if !e.used && len(o.below) == 0 && o.tree == "" {
			fmt.Fprintf(w, "%s/allow.txt:%d: %s in %s: no such finding; remove the line\n", listDir, e.line, e.word, e.files)
			fails = true
		}
	}
	return fails, nil
}

func failing(found []finding) bool {
	return slices.ContainsFunc(found, func(f finding) bool { return !f.advice })
}

// tracked returns the files of the checkout that are read, below one of the
// directories if any are given.
func tracked(tree string, below []string) ([]string, error) {
	out, err := git(tree, append([]string{"ls-files", "-z", "--"}, below...)...)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, file := range strings.Split(strings.TrimSuffix(out, "\x00"), "\x00") {
		if isText(file) {
			files = append(files, file)
		}
	}
	return files, nil
}

// isText reports whether a file has prose in it that this repository has written.
func isText(file string) bool {
	switch {
	case strings.HasPrefix(file, listDir+"/"):
		return false
	case strings.HasPrefix(file, "packaging/"):
		return true
	}
	return slices.Contains([]string{".go", ".md", ".toml", ".yml", ".yaml"}, path.Ext(file)) ||
		path.Base(file) == "Makefile"
}

// without removes the findings that an exception allows.
func without(found []finding, exceptions []*exception) []finding {
	return slices.DeleteFunc(found, func(f finding) bool {
		allowed := false
		for _, e := range exceptions {
			if e.allows(f.file, f.word) {
				e.used, allowed = true, true
			}
		}
		return allowed
	})
}

// printCounts prints how many findings each directory has, and in how many of its files.
func printCounts(w io.Writer, files []string, found []finding) error {
	type count struct{ files, matched, findings, advice int }
	counts := map[string]*count{}
	total := &count{}
	for _, file := range files {
		own := counts[directory(file)]
		if own == nil {
			own = &count{}
			counts[directory(file)] = own
		}
		matched := 0
		for _, f := range found {
			if f.file != file {
				continue
			}
			if f.advice {
				own.advice++
				total.advice++
				continue
			}
			matched = 1
			own.findings++
			total.findings++
		}
		own.files++
		total.files++
		own.matched += matched
		total.matched += matched
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, c *count) {
		fmt.Fprintf(table, "%d\t%d\t%d\t%d\t  %s\n", c.findings, c.matched, c.files, c.advice, name)
	}
	fmt.Fprintf(table, "findings\tfiles with\tof files\tadvice\t  directory\n")
	var names []string
	for name := range counts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		row(name, counts[name])
	}
	row("total", total)
	return table.Flush()
}

// directory returns the first two directories of a path.
func directory(file string) string {
	parts := strings.Split(path.Dir(file), "/")
	return strings.Join(parts[:min(2, len(parts))], "/")
}

func git(dir string, args ...string) (string, error) {
	var errs bytes.Buffer
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stderr = dir, &errs
	out, err := cmd.Output()
	if err != nil {
		return "", errors.Join(fmt.Errorf("git %s: %w", strings.Join(args, " "), err),
			errors.New(strings.TrimSpace(errs.String())))
	}
	return string(out), nil
}

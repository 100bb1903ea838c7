package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
)

func (a *app) docsCommand(tree func() *cli.App) *cli.Command {
	return a.leaf(leaf{
		name: "docs", usage: "write the man page, the completion scripts and the list of metrics", hidden: true,
		flags: []cli.Flag{&cli.StringFlag{Name: "dir", Value: ".", Usage: "the project's `FOLDER`"}},
		run:   func(c *call) error { return c.writeDocs(tree()) },
	})
}

// writeDocs is what `make docs` runs.
func (c *call) writeDocs(root *cli.App) error {
	files, err := docFiles(root)
	if err != nil {
		return err
	}
	written := []string{}
	for _, file := range files {
		path := filepath.Join(c.flags.String("dir"), file.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, file.text, 0o644); err != nil {
			return err
		}
		written = append(written, path)
	}
	return c.show(struct {
		envelope
		Files []string `json:"files"`
	}{schema(), written}, func(w io.Writer) {
		for _, path := range written {
			fmt.Fprintln(w, path)
		}
	})
}

type docFile struct {
	path string
	text []byte
}

// docFiles returns the generated files, with their paths in the project.
func docFiles(root *cli.App) ([]docFile, error) {
	describe(root.Commands)
	man, err := root.ToManWithSection(8)
	if err != nil {
		return nil, err
	}
	files := []docFile{{"docs/man/thinctl.8", []byte(man)}}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		name := completionFiles()[shell]
		script, err := completionScripts.ReadFile("completions/" + name)
		if err != nil {
			return nil, err
		}
		files = append(files, docFile{"packaging/completions/" + name, script})
	}
	return append(files, docFile{"docs/metrics.md", metricsDoc()}), nil
}

// describe puts the descriptions where cli's template for man pages looks.
func describe(commands []*cli.Command) {
	for _, command := range commands {
		if command.Description != "" {
			command.Usage += ". " + command.Description
		}
		describe(command.Subcommands)
	}
}

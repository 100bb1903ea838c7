// Package docs generates the man page, the completion scripts and the list of metrics.
package docs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/completion"
	"thinctl/internal/cli/output"
)

// Command returns `thinctl docs`, which is hidden. tree builds the tree of all commands.
func Command(env *command.Environment, tree func() *cli.App) *cli.Command {
	return env.Command(command.Spec{
		Name: "docs", Usage: "write the manual page, the completion scripts and the metrics page", Hidden: true,
		Flags: []cli.Flag{&cli.StringFlag{Name: "dir", Value: ".", Usage: "`DIRECTORY` of the project"}},
		Run:   func(c *command.Call) error { return writeDocs(c, tree()) },
	})
}

// writeDocs writes the generated files. `make docs` runs it.
func writeDocs(c *command.Call, root *cli.App) error {
	files, err := Files(root)
	if err != nil {
		return err
	}
	written := []string{}
	for _, file := range files {
		path := filepath.Join(c.Flags.String("dir"), file.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, file.Text, 0o644); err != nil {
			return err
		}
		written = append(written, path)
	}
	return c.Show(struct {
		output.Envelope
		Files []string `json:"files"`
	}{output.Schema(), written}, func(w io.Writer) {
		for _, path := range written {
			fmt.Fprintln(w, path)
		}
	})
}

// File is a generated file.
type File struct {
	Path string
	Text []byte
}

// Files returns the generated files, with their paths in the project.
func Files(root *cli.App) ([]File, error) {
	describe(root.Commands)
	man, err := root.ToManWithSection(8)
	if err != nil {
		return nil, err
	}
	files := []File{{"docs/man/thinctl.8", []byte(man)}}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		name := completion.Files()[shell]
		script, err := completion.Scripts.ReadFile("completions/" + name)
		if err != nil {
			return nil, err
		}
		files = append(files, File{"packaging/completions/" + name, script})
	}
	return append(files, File{"docs/metrics.md", metricsDoc()}), nil
}

// describe appends descriptions to the usage texts, because the template of urfave/cli for manual
// pages prints only these.
func describe(commands []*cli.Command) {
	for _, command := range commands {
		if command.Description != "" {
			command.Usage += ". " + command.Description
		}
		describe(command.Subcommands)
	}
}

package main

import (
	"embed"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
)

//go:embed all:completions
var completionScripts embed.FS

// completionFiles are the scripts by shell, under the names that each shell
// looks for.
func completionFiles() map[string]string {
	return map[string]string{"bash": "thinctl.bash", "zsh": "_thinctl", "fish": "thinctl.fish"}
}

func (a *app) completionCommand() *cli.Command {
	return a.leaf(leaf{
		name: "completion", args: "SHELL", usage: "print the completion script for bash, zsh or fish",
		about: "For bash: source <(thinctl completion bash)",
		run:   (*call).printCompletion,
		complete: func(c *call) []string {
			if len(c.args) > 0 {
				return nil
			}
			return []string{"bash", "fish", "zsh"}
		},
	})
}

func (c *call) printCompletion() error {
	file, ok := completionFiles()[c.arg(0)]
	if !ok {
		return c.misuse("no completion for %q, only for bash, zsh and fish", c.arg(0))
	}
	script, err := completionScripts.ReadFile("completions/" + file)
	if err != nil {
		return err
	}
	return c.show(struct {
		envelope
		Shell  string `json:"shell"`
		Script string `json:"script"`
	}{schema(), c.arg(0), string(script)}, func(w io.Writer) { fmt.Fprint(c.out, string(script)) })
}

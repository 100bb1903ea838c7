// Package completion prints the completion scripts of the shells.
package completion

import (
	"embed"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
)

// Scripts holds the completion scripts in the directory completions.
//
//go:embed all:completions
var Scripts embed.FS

// Files returns the file names of the scripts by shell. Each shell looks for its script
// under that name.
func Files() map[string]string {
	return map[string]string{"bash": "thinctl.bash", "zsh": "_thinctl", "fish": "thinctl.fish"}
}

// Command returns `thinctl completion`.
func Command(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "completion", Args: "SHELL", Usage: "print the completion script for bash, zsh or fish",
		About: "For bash: source <(thinctl completion bash)",
		Run:   printCompletion,
		Complete: func(c *command.Call) []string {
			if len(c.Args) > 0 {
				return nil
			}
			return []string{"bash", "fish", "zsh"}
		},
	})
}

func printCompletion(c *command.Call) error {
	file, ok := Files()[c.Arg(0)]
	if !ok {
		return c.Misuse("unknown shell %q: use bash, zsh or fish", c.Arg(0))
	}
	script, err := Scripts.ReadFile("completions/" + file)
	if err != nil {
		return err
	}
	return c.Show(struct {
		output.Envelope
		Shell  string `json:"shell"`
		Script string `json:"script"`
	}{output.Schema(), c.Arg(0), string(script)}, func(w io.Writer) { fmt.Fprint(c.Out, string(script)) })
}

package commandline

import (
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/exit"
)

// Prepare sets what urfave/cli would otherwise choose. Its help command would shadow arguments, as
// in `thinctl pool status h`.
func Prepare(commands []*cli.Command, above string) {
	for _, command := range commands {
		name := above + " " + command.Name
		command.HideHelpCommand = true
		command.OnUsageError = AsUsageError
		if len(command.Subcommands) == 0 {
			command.UsageText = strings.TrimSpace(name + " [flags] " + command.ArgsUsage)
		}
		Prepare(command.Subcommands, name)
	}
}

// AsUsageError turns an error of the parser in urfave/cli into a usage error.
func AsUsageError(c *cli.Context, err error, _ bool) error {
	name := CommandName(c.Command)
	return &exit.UsageError{Why: strings.TrimPrefix(name+": "+err.Error(), ": "), Remedy: HelpHint(strings.Fields(name))}
}

// CommandName returns the name of a command with its noun, such as "pool destroy".
func CommandName(c *cli.Command) string {
	return strings.TrimSpace(strings.TrimPrefix(c.HelpName, "thinctl"))
}

package commandline

import (
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/exit"
)

// Prepare gives each command what cli would otherwise decide for itself. Its
// own help command would shadow arguments: `thinctl pool status h`.
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

func AsUsageError(c *cli.Context, err error, _ bool) error {
	name := CommandName(c.Command)
	return &exit.UsageError{Why: strings.TrimPrefix(name+": "+err.Error(), ": "), Remedy: HelpHint(strings.Fields(name))}
}

func CommandName(c *cli.Command) string {
	return strings.TrimSpace(strings.TrimPrefix(c.HelpName, "thinctl"))
}

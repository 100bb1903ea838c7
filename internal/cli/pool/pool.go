// Package pool has the commands about pools.
package pool

import (
	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
)

func Commands(a *command.Environment) *cli.Command {
	return &cli.Command{
		Name:  "pool",
		Usage: "create and manage thin pools",
		Subcommands: []*cli.Command{
			createCommand(a), listCommand(a), statusCommand(a), usageCommand(a), mapCommand(a), extendCommand(a), setCommand(a), activateCommand(a), deactivateCommand(a),
			checkCommand(a), repairCommand(a), trimCommand(a), destroyCommand(a),
		},
		BashComplete: a.Completer(nil),
	}
}

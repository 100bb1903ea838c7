// Package pool has the commands about pools.
package pool

import (
	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
)

// Commands returns `thinctl pool` with its commands.
func Commands(env *command.Environment) *cli.Command {
	return &cli.Command{
		Name:  "pool",
		Usage: "create and manage thin pools",
		Subcommands: []*cli.Command{
			createCommand(env), listCommand(env), statusCommand(env), usageCommand(env), mapCommand(env), extendCommand(env),
			setCommand(env), activateCommand(env), deactivateCommand(env),
			checkCommand(env), repairCommand(env), trimCommand(env), destroyCommand(env),
		},
		BashComplete: env.Completer(nil),
	}
}

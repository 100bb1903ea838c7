// Package container has the commands about containers.
package container

import (
	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/output"
)

// Commands returns `thinctl container` with its commands.
func Commands(env *command.Environment) *cli.Command {
	return &cli.Command{
		Name:  "container",
		Usage: "create and use containers, which are writable copies of images",
		Subcommands: []*cli.Command{
			createCommand(env), listCommand(env), mountCommand(env), unmountCommand(env), diffCommand(env), commitCommand(env),
			exportCommand(env), removeCommand(env),
		},
		BashComplete: env.Completer(nil),
	}
}

// oneContainer is the result of a command on one container.
type oneContainer struct {
	output.PoolHead
	Container content.ContainerView `json:"container"`
}

// Package container has the commands about containers.
package container

import (
	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/output"
)

func Commands(a *command.Environment) *cli.Command {
	return &cli.Command{
		Name:  "container",
		Usage: "create and use containers, which are writable copies of images",
		Subcommands: []*cli.Command{
			createCommand(a), listCommand(a), mountCommand(a), unmountCommand(a), diffCommand(a), commitCommand(a),
			exportCommand(a), removeCommand(a),
		},
		BashComplete: a.Completer(nil),
	}
}

// oneContainer is the result of a command that is about one container.
type oneContainer struct {
	output.PoolHead
	Container content.ContainerView `json:"container"`
}

package main

import (
	"github.com/urfave/cli/v2"
)

func (a *app) poolCommands() *cli.Command {
	return &cli.Command{
		Name:  "pool",
		Usage: "make and keep thin pools",
		Subcommands: []*cli.Command{
			a.poolCreate(), a.poolList(), a.poolStatus(), a.poolUsage(), a.poolMap(), a.poolExtend(), a.poolSet(), a.poolActivate(), a.poolDeactivate(),
			a.poolCheck(), a.poolRepair(), a.poolTrim(), a.poolDestroy(),
		},
		BashComplete: a.completer(nil),
	}
}

func dryRunFlag() cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Usage: "say what would be done, and do nothing"}
}

func yesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}
}

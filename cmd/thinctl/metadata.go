package main

import (
	"github.com/urfave/cli/v2"
)

// metadataCommands work on the metadata of any dm-thin pool, ours or not, in a
// device or in a file. Nothing is written to it.
func (a *app) metadataCommands() *cli.Command {
	return &cli.Command{
		Name:  "metadata",
		Usage: "read the metadata of any thin pool",
		Description: "FILE is a metadata device or a copy of one, of thinctl's pools or of others, such as LVM's. " +
			"A device that an active pool uses is only read with --held.",
		Subcommands:  []*cli.Command{a.metadataShow(), a.metadataMap(), a.metadataDelta()},
		BashComplete: a.completer(nil),
	}
}

func heldFlag() cli.Flag {
	return &cli.BoolFlag{Name: "held", Usage: "read the metadata snapshot that the pool holds, active or not"}
}
